"""The package `pieria` of an installation: it contains `functions`, `shared` and `infra`.

In a checkout this folder is not used. pyproject.toml maps it to `pieria` in the wheel.
"""

import sys
from importlib.util import find_spec
from pathlib import Path


def find_modules() -> None:
    """Let this process import the modules by their names in a checkout, such as `shared.errors`.

    The modules import each other by these names. Only the processes of a hub and of its commands
    call this function, so other processes do not find the modules by these names.
    """
    # An editable installation has the folder `infra` in the checkout, not beside this file.
    infra = find_spec("pieria.infra")
    assert infra and infra.origin  # noqa: S101 (it is a folder with an __init__.py)
    sys.path.insert(0, str(Path(infra.origin).parent.parent))
