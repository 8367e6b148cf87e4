"""Every endpoint in one ASGI app, from the routers of the functions.

A laptop or a container serves it.
"""

from functions import page_routers, routers
from shared import http

app = http.create_app(*routers(), *page_routers())
