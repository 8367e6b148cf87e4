"""Stories of the suite on SQLite and files. `make test-sqlite` runs all that apply."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    "modules",
    [
        ["test_cases/test_pointer.py", "test_cases/test_presign.py"],
        [
            "test_isolation.py",
            "test_races.py",
            "proof/test_hostile.py::test_whatever_is_sent_is_answered_well[1]",
        ],
    ],
    ids=["cases", "isolation, races and hostile requests"],
)
def test_stories_hold_on_sqlite_too(modules: list[str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    done = subprocess.run(
        [*command, *(f"tests/{module}" for module in modules)],
        cwd=ROOT,
        env=os.environ | {"ENGINE": "sqlite", "HOSTILE": "8000", "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
