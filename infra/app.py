"""Every endpoint in one ASGI app: what a laptop or a container serves, from the very routers of the functions."""

from functions import routers
from shared import http

app = http.create_app(*routers())
