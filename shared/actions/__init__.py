"""The decisions of the hub: requests, maintenance jobs, and walks that both use.

They may import the pure modules, `metadata`, `objects` and `errors`, but not FastAPI or boto. They
read neither the environment nor the clock: time, identity and stores are arguments.
"""
