"""Every endpoint in one ASGI app: what a laptop or a container serves, from the very routers of the functions."""

from functions import fetch, filter_objects, health, negotiate, presign, push, push_objects, refs
from shared import http

app = http.create_app(
    *(function.router for function in (fetch, filter_objects, health, negotiate, presign, push, push_objects, refs))
)
