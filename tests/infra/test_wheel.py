"""pieria as a user installs it: the wheel, in a virtual environment with the packages that
`pip install pieria` installs, and nothing else.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, distribution
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement

from infra import tools
from tests.test_session import differences, sender

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


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, as far as the wheel is built from it."""
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
    return source


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and the packages that it depends on."""
    return environment_with(
        built(source, "build_wheel", tmp_path_factory.mktemp("wheel")),
        tmp_path_factory.mktemp("installed") / "venv",
    )


def built(source: Path, hook: str, folder: Path) -> Path:
    """The wheel that a hook of the build backend (PEP 517, PEP 660) makes."""
    program = f"from setuptools import build_meta; build_meta.{hook}({str(folder)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def environment_with(wheel: Path, folder: Path) -> Path:
    """A new virtual environment with the wheel, and the packages that it depends on."""
    venv.create(folder, symlinks=True)
    options = ("--quiet", "--offline", "--no-deps", "--python", folder / "bin" / "python")
    assert tools.uv("pip", "install", *options, wheel).returncode == 0
    packages = site_packages(folder)
    (metadata,) = packages.glob("pieria-*.dist-info")
    link_packages(packages, Distribution.at(metadata).requires or [])
    return folder


def link_packages(packages: Path, wanted: list[str]) -> None:
    """Link these packages and those that they need, without any extra, into an environment."""
    left = list(wanted)
    while left:
        needed = Requirement(left.pop())
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        found = distribution(needed.name)
        tops = {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}
        new = [top for top in tops if not (packages / top).exists()]
        for top in new:
            (packages / top).symlink_to(Path(sysconfig.get_path("purelib")) / top)
        if new:
            left += found.requires or []


def site_packages(installed: Path) -> Path:
    """The folder into which pip installs."""
    (packages,) = installed.glob("lib/python3*/site-packages")
    return packages


def pieria(
    installed: Path, folder: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The ended command of the installation."""
    return subprocess.run(
        [installed / "bin" / "pieria", *arguments],
        cwd=folder,
        env=environment() | variables,
        capture_output=True,
        text=True,
    )


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


def ready_url(process: subprocess.Popen[str]) -> str:
    """The URL of a hub, when it is ready."""
    assert process.stdout and process.stderr
    lines: list[str] = []
    while not any("HUB READY" in line for line in lines):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        lines.append(line)
    found = re.search(r"HUB READY url=(\S+)", lines[-1])
    assert found
    return found[1]


def test_the_wheel_installs_only_the_name_of_the_project(installed: Path) -> None:
    packages = site_packages(installed)
    (metadata,) = packages.glob("pieria-*.dist-info")
    files = Distribution.at(metadata).files or []
    assert {file.parts[0] for file in files if file.parts[0] != ".."} == {"pieria", metadata.name}


def test_the_wheel_has_every_module(installed: Path) -> None:
    modules = {
        path.relative_to(ROOT)
        for folder in ("functions", "infra", "shared")
        for path in (ROOT / folder).rglob("*.py")
        if "installed" not in path.parts
    }
    package = site_packages(installed) / "pieria"
    assert {path for path in modules if not (package / path).is_file()} == set()


@pytest.mark.parametrize("name", ["moto", "boto3", "aioboto3", "botocore", "flask"])
def test_the_installation_has_no_package_of_aws(installed: Path, name: str) -> None:
    command = [str(installed / "bin" / "python"), "-c", f"import {name}"]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert f"No module named '{name}'" in ended.stderr


def test_an_installed_pieria_serves_a_hub(installed: Path, tmp_path: Path) -> None:
    with served(installed, tmp_path) as process:
        url = ready_url(process)
        assert httpx.get(f"{url}/health").status_code == 200
        data = ("--data", "hub", "--json")
        created = pieria(installed, tmp_path, "repo", "create", "alice/song", *data)
        assert (created.returncode, created.stderr) == (0, "")
        issued = pieria(installed, tmp_path, "token", "issue", "--owner", "alice", *data)
        login = {"Authorization": f"Bearer {json.loads(issued.stdout)['token']}"}
        assert httpx.get(f"{url}/alice/song/refs", headers=login).status_code == 200
        assert "alice/song" in httpx.get(f"{url}/alice/song", headers={"Accept": "text/html"}).text
    assert (tmp_path / "hub" / "hub.sqlite").is_file()


@pytest.mark.parametrize("command", ["connect", "clone"])
def test_an_installed_pieria_has_the_relay(installed: Path, tmp_path: Path, command: str) -> None:
    ended = pieria(installed, tmp_path, command, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"Usage: pieria {command}")


def test_an_installed_pieria_has_a_version_and_completes_commands(
    installed: Path, tmp_path: Path
) -> None:
    version = re.escape(distribution_version(installed))
    assert re.fullmatch(f"pieria {version}\n", pieria(installed, tmp_path, "--version").stdout)
    asked = {"_PIERIA_COMPLETE": "complete_bash", "COMP_WORDS": "pieria re", "COMP_CWORD": "1"}
    assert pieria(installed, tmp_path, **asked).stdout.split() == [
        "repo",
        "release",
        "rebuild-index",
    ]


def distribution_version(installed: Path) -> str:
    """The version in the metadata of the wheel."""
    (metadata,) = site_packages(installed).glob("pieria-*.dist-info")
    return Distribution.at(metadata).version


@pytest.mark.parametrize("command", ["serve --port 0 --engine moto", "key list"])
def test_a_command_that_needs_aws_names_the_extra(
    installed: Path, tmp_path: Path, command: str
) -> None:
    ended = pieria(installed, tmp_path, *command.split())
    line = (
        "pieria: the package boto3 is needed: pip install 'pieria[aws]', or in a checkout"
        " `make aws-packages`\n"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", line)


def test_a_command_without_a_hub_names_a_command_of_the_installation(
    installed: Path, tmp_path: Path
) -> None:
    ended = pieria(installed, tmp_path, "repo", "list")
    assert ended.returncode == 2 and "or `pieria serve`" in ended.stderr


def test_an_installation_without_the_template_is_reported_by_the_engine_that_needs_it(
    installed: Path, tmp_path: Path
) -> None:
    packages = site_packages(installed)
    template = packages / "pieria" / "infra" / "template.yaml"
    kept = template.rename(template.with_suffix(".kept"))
    try:
        with (
            with_extra_aws(installed),
            served(installed, tmp_path, "--engine", "moto") as process,
        ):
            _, said = process.communicate(timeout=60)
    finally:
        kept.rename(template)
    assert process.returncode == 2
    assert said.startswith(f"pieria: cannot read {template}") and said.count("\n") == 1
    assert "--data" not in said


@contextmanager
def with_extra_aws(installed: Path) -> Iterator[None]:
    """Let the installation find the packages of the extra `aws`, as all others of the suite."""
    extra = site_packages(installed) / "aws.pth"
    extra.write_text(sysconfig.get_path("purelib") + "\n")
    try:
        yield
    finally:
        extra.unlink()


def test_the_recorded_session_has_no_difference_on_an_installed_hub(
    installed: Path, tmp_path: Path
) -> None:
    with served(installed, tmp_path, "--json") as process:
        assert process.stdout
        hub = json.loads(process.stdout.readline())
        with httpx.Client(base_url=hub["url"], timeout=30) as client:
            assert differences(sender(client), hub["token"]) == []


def test_an_editable_installation_has_the_command_and_the_plugin(
    source: Path, tmp_path: Path
) -> None:
    wheel = built(source, "build_editable", tmp_path)
    installed = environment_with(wheel, tmp_path / "venv")
    listed = pieria(installed, tmp_path, "user", "list")
    assert "there is no hub in .hub" in listed.stderr
    ended = client_tests(installed, tmp_path, "", "--fixtures")
    assert "pieria_hub_aws" in ended.stdout


def client_tests(
    installed: Path, folder: Path, module: str, *options: str
) -> subprocess.CompletedProcess[str]:
    """The ended pytest of an author of a client, with this module of tests."""
    link_packages(site_packages(installed), ["pytest"])
    (folder / "test_client.py").write_text(module)
    command = [str(installed / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *options],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def example() -> str:
    """The example of docs/client-tests.md."""
    page = (ROOT / "docs" / "client-tests.md").read_text()
    (found,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_example_of_a_client_test_passes_with_the_plugin(
    installed: Path, tmp_path: Path
) -> None:
    ended = client_tests(installed, tmp_path, example())
    assert ended.returncode == 0, ended.stdout
    assert "3 passed" in ended.stdout


def test_the_example_passes_on_the_emulated_aws_too(installed: Path, tmp_path: Path) -> None:
    on_aws = example().replace("pieria_hub", "pieria_hub_aws")
    with with_extra_aws(installed):
        ended = client_tests(installed, tmp_path, on_aws, "-k", "restart or stranger")
    assert ended.returncode == 0, ended.stdout
    assert "2 passed" in ended.stdout


def test_the_plugin_names_the_extra_of_the_emulated_aws(installed: Path, tmp_path: Path) -> None:
    ended = client_tests(installed, tmp_path, "def test_it(pieria_hub_aws): pass")
    assert ended.returncode == 1
    assert "pip install 'pieria[aws]'" in ended.stdout


def test_each_test_has_an_empty_hub_with_the_scope_of_a_function(
    installed: Path, tmp_path: Path
) -> None:
    module = """
import pytest
@pytest.mark.parametrize("number", [1, 2])
def test_it(pieria_hub, number):
    pieria_hub.create_repo("song")
"""
    ended = client_tests(installed, tmp_path, module, "-o", "pieria_hub_scope=function")
    assert "2 passed" in ended.stdout, ended.stdout


CLIENT = """
import sys
from pieria.client import Client, NewRepo, NotFound
with Client(sys.argv[1], sys.argv[2]) as hub:
    hub.create_repo(NewRepo("song"))
    print([repo.slug for repo in hub.repos("me")])
    try:
        hub.repo("me", "none")
    except NotFound as absent:
        print(absent.code)
print([name for name in sys.modules if name.startswith(("shared", "functions", "pieria.shared"))])
"""


def test_an_installation_has_the_client_of_the_api_and_its_command_line(
    installed: Path, tmp_path: Path
) -> None:
    with served(installed, tmp_path, "--json") as process:
        assert process.stdout
        hub = json.loads(process.stdout.readline())
        command = [str(installed / "bin" / "python"), "-c", CLIENT, hub["url"], hub["token"]]
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True
        )
        assert ended.stdout == "['song']\nrepo_not_found\n[]\n", ended.stderr
        options = ("--hub", hub["url"], "repo", "list", "me")
        listed = pieria(installed, tmp_path, *options, PIERIA_TOKEN=hub["token"])
        assert "me/song" in listed.stdout, listed.stderr
