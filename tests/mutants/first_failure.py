"""A pytest plugin: writes the id of a failed test to the file that `FIRST_FAILURE_FILE` names."""

import os
from pathlib import Path
from typing import Any

VARIABLE = "FIRST_FAILURE_FILE"


def pytest_runtest_logreport(report: Any) -> None:
    """A hook of pytest."""
    if report.failed and VARIABLE in os.environ:
        Path(os.environ[VARIABLE]).write_text(report.nodeid)
