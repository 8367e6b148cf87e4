"""DynamoDB: the rows of repositories, refs, commits, indexes and counters.

May import the pure modules, `errors` and botocore; what AWS calls an error becomes one of ours in
`table`. May not import `objects`, `actions` or HTTP, and decides nothing about pushes or fetches.
"""
