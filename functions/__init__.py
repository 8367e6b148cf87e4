"""One file per function: its routes, and the `handler` that Lambda calls. `endpoints` is the table
of all functions.

A function parses the request, calls an action or a store, and replies. It may import `shared.http`,
the actions and `shared.metadata`; it never imports boto or another function. `infra` uses all
functions, through `routers`.
"""

import importlib

from fastapi import APIRouter


def routers() -> list[APIRouter]:
    """The router of every function of the API, by name. Importing them all is slow."""
    from functions.endpoints import API, WIRE  # late: a function does not need it to start

    modules = sorted(endpoint.module for endpoint in (*WIRE, *API) if endpoint.routes)
    return [importlib.import_module(f"{__name__}.{module}").router for module in modules]
