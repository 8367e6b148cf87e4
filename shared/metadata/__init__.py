"""DynamoDB: the rows of repositories, refs, commits, indexes and counters.

It may import the pure modules, `errors` and botocore. `table` translates errors of AWS. It may not
import `objects`, `actions` or HTTP, and makes no decisions about pushes or fetches.
"""
