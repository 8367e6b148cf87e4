"""Every endpoint in one ASGI app, from the routers of the functions.

A laptop or a container serves it.
"""

from functions import pages, routers
from shared import http

app = http.create_app(*routers(), pages.router)
