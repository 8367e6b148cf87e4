"""Every endpoint in one ASGI app, from the routers of the functions.

A laptop or a container serves it. The modules of the pages and their packages take half of the
time of a start, so they are loaded with the first request for a page.
"""

from functions import endpoints, page_routers, routers
from shared import http

app = http.create_app(*routers(), late=page_routers, paths=endpoints.paths)
