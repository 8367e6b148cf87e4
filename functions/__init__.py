"""One file per endpoint: its routes, and the `handler` that Lambda calls.

A function parses the request, calls an action or a store, and replies. It may import `shared.http`,
the actions and `shared.metadata`; it never imports boto or another function. Only `openapi` uses
all functions, through `routers`.
"""

import importlib

from fastapi import APIRouter


def routers() -> list[APIRouter]:
    """The router of every function, by name. Importing them all is slow."""
    import pkgutil  # late: an endpoint does not need it to start

    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [importlib.import_module(f"{__name__}.{name}").router for name in names]
