"""What the service decides: one module per verb that has a decision in it.

May import the pure modules, `metadata`, `objects` and `errors`. May not import FastAPI or boto, and reads
neither the environment nor the clock: time, identity and stores are arguments.
"""
