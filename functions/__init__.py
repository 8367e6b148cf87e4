"""One file per function: its routes, and the `handler` that Lambda calls. `endpoints` is the table
of all functions.

A function parses the request, calls an action or a store, and replies. It may import `shared.http`,
the actions and `shared.metadata`; it never imports boto or another function. `infra` uses all
functions, through `routers`.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the build reads the table of endpoints, before any package is installed
    from fastapi import APIRouter


def routers() -> "list[APIRouter]":
    """The router of every function of the API, by name. Importing them all is slow."""
    from functions.endpoints import API, WIRE  # late: a function does not need it to start

    modules = sorted(endpoint.module for endpoint in (*WIRE, *API) if endpoint.routes)
    return [_router(module) for module in modules]


def page_routers() -> "list[APIRouter]":
    """The router of every function of the web pages, in the order in which they are tried."""
    from functions.endpoints import PAGES

    # The last one has `/{owner}/{slug}`, which also fits the paths of the others.
    return [_router(endpoint.module) for endpoint in reversed(PAGES)]


def _router(module: str) -> "APIRouter":
    router: APIRouter = importlib.import_module(f"{__name__}.{module}").router
    return router
