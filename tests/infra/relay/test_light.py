"""`pip install 'pieria[client]'`: the relay without the packages of a hub."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent.parent
HEAVY = {
    "aioboto3",
    "boto3",
    "botocore",
    "fastapi",
    "flask",
    "httpx",
    "mangum",
    "moto",
    "pydantic",
    "uvicorn",
}


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


def test_the_extra_needs_no_package_of_a_hub() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["client"]]
    found = needed({re.split(r"[^\w-]", line)[0] for line in lines})
    assert found & (HEAVY - {"pydantic"}) == set()  # typer needs pydantic


@pytest.mark.parametrize("command", ["connect", "clone"])
def test_a_command_of_the_relay_imports_no_package_of_a_hub(command: str) -> None:
    source = (
        f"import sys, infra.cli.{command}; print(*{{name.partition('.')[0] for name in"
        " sys.modules})"
    )
    assert set(run(source).split()) & HEAVY == set()


def test_a_command_of_a_hub_names_the_extra_that_it_needs() -> None:
    source = (
        "import sys; sys.modules['botocore'] = None; sys.argv = ['pieria', 'repo', 'list'];"
        " from infra.cli import app; app(prog_name='pieria')"
    )
    assert run(source).splitlines() == [
        "pieria: `pieria repo` needs the package botocore: pip install 'pieria[local]'"
    ]


def test_the_bare_package_names_its_extras() -> None:
    source = "import sys; sys.modules['typer'] = None; import infra.cli"
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith(
        "pieria: install an extra: pip install 'pieria[client]'"
    )
