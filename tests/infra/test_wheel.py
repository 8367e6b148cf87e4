"""pieria as a user installs it: the wheel, in a virtual environment that holds nothing else of this
checkout.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from infra import tools

ROOT = Path(__file__).parent.parent.parent
SOURCES = (
    "functions",
    "shared",
    "infra",
    "pyproject.toml",
    "template.yaml",
    "README.md",
    "LICENSE",
)
BUILD = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and the packages that it depends on."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name,
                source / name,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        else:
            shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-c", BUILD], cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "dist").glob("*.whl")
    shutil.move(wheel, source.parent)

    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    wanted = (
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--python",
        python,
        source.parent / wheel.name,
    )
    assert tools.uv(*wanted).returncode == 0
    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def environment() -> dict[str, str]:
    """An environment that does not lead to this checkout."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "AWS_", "PIERIA_"))
    }


@contextmanager
def served(installed: Path, folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`pieria serve` in an empty folder."""
    command = [str(installed / "bin" / "pieria"), "serve", "--port", "0", "--data", "hub", *options]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_an_installed_pieria_serves_a_hub(installed: Path, tmp_path: Path) -> None:
    with served(installed, tmp_path) as process:
        assert process.stdout and process.stderr
        lines: list[str] = []
        while not any("HUB READY" in line for line in lines):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            lines.append(line)
        (url,) = re.findall(r"HUB READY url=(\S+)", "".join(lines))
        assert httpx.get(f"{url}/health").status_code == 200
    assert (tmp_path / "hub" / "hub.sqlite").is_file()


def test_an_installation_without_the_template_is_reported_by_the_engine_that_needs_it(
    installed: Path, tmp_path: Path
) -> None:
    (template,) = installed.glob("lib/python3*/site-packages/infra/template.yaml")
    kept = template.rename(template.with_suffix(".kept"))
    try:
        with served(installed, tmp_path, "--engine", "moto") as process:
            _, said = process.communicate(timeout=60)
    finally:
        kept.rename(template)
    assert process.returncode == 2
    assert said.startswith(f"pieria: cannot read {template}") and said.count("\n") == 1
    assert "--data" not in said
