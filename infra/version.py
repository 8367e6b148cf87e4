"""The version of pieria: from pyproject.toml in a checkout, else from the installed package."""

import tomllib
from importlib.metadata import version as installed_version
from pathlib import Path

_PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def version() -> str:
    """The version, for example `0.1.0`."""
    if _PROJECT.is_file():
        project = tomllib.loads(_PROJECT.read_text())["project"]
        return str(project["version"])
    return installed_version("pieria")
