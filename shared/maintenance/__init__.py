"""The jobs of the operator: each reads or rewrites a whole repository, beside pushes and
fetches.
"""
