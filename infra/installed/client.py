"""The client of the API of a hub: `from pieria.client import Client`. See docs/client.md."""

from pieria.infra.client import *  # noqa: F403 (its `__all__` has the public names)
