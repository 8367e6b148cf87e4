"""The decisions of the hub: requests, maintenance jobs, and walks that both use.

They may import the pure modules, `metadata`, `objects` and `errors`, but not FastAPI or boto. They
read neither the environment nor the clock: time, identity and stores are arguments.

The docstring of an action states its budget: the most AWS calls of the request, and its longest
chain of calls that wait for each other. Both include the check of the token and the limits. The
text in brackets is the operation that tests/test_budgets.py or tests/test_budgets_api.py measures.
"""
