"""One file per endpoint: the route, and below it the `handler` that Lambda calls.

A function parses, calls and replies. It may import `shared.http`, the actions and the plain look-ups of
`shared.metadata`; never boto, and never another function.
"""
