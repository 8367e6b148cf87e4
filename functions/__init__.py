"""One file per endpoint: the route, and below it the `handler` that Lambda calls.

A function parses, calls and replies. It may import `shared.http`, the actions and the plain look-ups of
`shared.metadata`; never boto, and never another function. `openapi` alone sees them all, through `routers`.
"""

import importlib

from fastapi import APIRouter


def routers() -> list[APIRouter]:
    """The router of every function, in the order of their names. Importing them all takes a while."""
    import pkgutil  # late: it is for no function that starts

    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [importlib.import_module(f"{__name__}.{name}").router for name in names]
