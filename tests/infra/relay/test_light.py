"""`pip install pieria`: a hub and the relay without the packages of AWS, and a relay that imports
no package of a hub.
"""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent.parent
AWS = {"aioboto3", "aiobotocore", "boto3", "botocore", "flask", "moto"}
HUB = AWS | {"fastapi", "httpx", "mangum", "pydantic", "uvicorn"}


def run(source: str) -> str:
    """The output of a new interpreter."""
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 2), done.stderr
    return done.stdout + done.stderr


def needed(names: set[str]) -> set[str]:
    """These packages, and those that they need on this machine, by name."""
    found, left = set[str](), set(names)
    while left:
        name = left.pop()
        found.add(name)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue  # for another Python or another system
        left |= {
            re.split(r"[^\w-]", line)[0].lower() for line in lines if "extra ==" not in line
        } - found
    return found


def test_an_installation_without_extras_has_no_package_of_aws() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = needed({re.split(r"[^\w-]", line)[0] for line in project["dependencies"]})
    assert {"fastapi", "typer", "uvicorn"} <= found
    assert found & AWS == set()


@pytest.mark.parametrize("command", ["connect", "clone"])
def test_a_command_of_the_relay_imports_no_package_of_a_hub(command: str) -> None:
    source = (
        f"import sys, infra.cli.{command}; print(*{{name.partition('.')[0] for name in"
        " sys.modules})"
    )
    assert set(run(source).split()) & HUB == set()
