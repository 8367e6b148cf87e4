"""What Lambda gets: small, compiled, the same every time, and starting with nothing but itself."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.endpoints import ENDPOINTS
from infra import build, stack, tools
from infra.tools import Unable

ROOT = Path(__file__).parent.parent.parent
PYTHON = Path(sys.executable)

LATE = [
    "aioboto3",
    "aiobotocore",
    "boto3",
    "botocore.session",
    "aiohttp",
    "s3transfer",
]
LATE += ["functions.endpoints"]
"""What takes long to import, and only some requests need."""


def lay(folder: Path, files: dict[str, str]) -> Path:
    """A folder of these files, by path."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def pins(lock: Path) -> dict[str, str]:
    """A lock's packages, each with its version, marker and digests."""
    found = re.findall(
        r"^([a-z0-9._-]+)==(\S+)(.*(?:\n    --hash.*)+)", lock.read_text(), re.MULTILINE
    )
    return {name: version + rest for name, version, rest in found}


# ── The contents of the package ───────────────────────────────────────────────────────────────────


def test_the_build_starts_before_any_package_is_installed() -> None:
    for module in ("infra.build", "infra.tools"):
        command = [str(PYTHON), "-S", "-c", f"import {module}"]
        subprocess.run(command, cwd=ROOT, check=True)


def test_it_is_built_for_the_runtime_of_the_template() -> None:
    version = ".".join(map(str, build.VERSION))
    template = stack.TEMPLATE.read_text()
    assert re.findall(r"Runtime: (python\S+)", template) == [f"python{version}"]
    assert re.findall(r"Architectures: (\S+)", template) == ["[arm64]"]
    assert build.PLATFORM.startswith("aarch64-")


def test_the_package_has_the_very_versions_that_are_tested_here() -> None:
    tested = pins(ROOT / "requirements.lock")
    shipped = pins(build.LOCK)
    # Digests also cover other platforms' wheels: what differs is a marker at most.
    digests = re.compile(r"[0-9a-f]{64}")
    for name, pin in shipped.items():
        assert pin.split()[0] == tested[name].split()[0], name
        assert set(digests.findall(pin)) == set(digests.findall(tested[name])), name


def test_the_package_has_the_dependencies_of_a_function_only() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, groups = document["project"], document["dependency-groups"]
    needed = _names(groups["function"])
    pages = _names([line for line in groups["pages"] if isinstance(line, str)])
    installed = _names(project["dependencies"])
    extras = set().union(*map(_names, project["optional-dependencies"].values()))
    assert (needed | pages) - installed == {"aioboto3"}
    shipped = set(pins(build.LOCK))
    assert needed - shipped == set()
    assert (needed | pages) - set(pins(build.PAGES_LOCK)) == set()
    # aioboto3 needs aiohttp, too.
    assert ((installed | extras) - needed) & shipped == {"aiohttp"}


def _names(dependencies: list[str]) -> set[str]:
    """The packages that these lines of pyproject.toml name."""
    return {re.split(r"[^a-z0-9-]", dependency)[0] for dependency in dependencies}


def test_a_lock_for_one_platform_has_no_conditions() -> None:
    # pip would judge them by the Python it runs on, not by the one it installs for.
    assert [name for name, pin in pins(build.LOCK).items() if ";" in pin] == []


@pytest.mark.parametrize("lock", sorted(tools.LOCKS.glob("*.lock")), ids=lambda path: path.stem)
def test_every_lock_names_versions_and_digests_only(lock: Path) -> None:
    line = re.compile(
        r"[a-z0-9._-]+==\S+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?|#(?!.*://).*|"
    )
    assert [text for text in lock.read_text().splitlines() if not line.fullmatch(text)] == []
    assert pins(lock)


# ── How it is made ────────────────────────────────────────────────────────────────────────────────


def test_a_zip_is_the_same_whenever_and_in_whatever_order_its_files_were_written(
    tmp_path: Path,
) -> None:
    files = {"b/module.py": "x = 1\n", "a.py": "", "run.sh": "#!/bin/sh\n"}
    one = lay(tmp_path / "one", files)
    other = lay(tmp_path / "other", dict(reversed(files.items())))
    os.utime(other / "a.py", (1, 1))
    for folder in (one, other):
        (folder / "run.sh").chmod(0o755)
        build.pack(folder, folder.with_suffix(".zip"))
    assert one.with_suffix(".zip").read_bytes() == other.with_suffix(".zip").read_bytes()
    assert build.digest(one) == build.digest(other)
    with zipfile.ZipFile(one.with_suffix(".zip")) as packed:
        assert packed.getinfo("run.sh").external_attr >> 16 & 0o111

    (other / "run.sh").chmod(0o644)
    assert build.digest(one) != build.digest(other)


def test_bytecode_is_the_same_wherever_it_was_compiled_and_believed_without_its_source(
    tmp_path: Path,
) -> None:
    source = "def f(kind):\n    return kind in {'a', 'b', 'c'}\n"
    for name in ("one", "another/place"):
        build._compile(lay(tmp_path / name, {"functions/module.py": source}), PYTHON)
    assert build.digest(tmp_path / "one") == build.digest(tmp_path / "another/place")

    module = tmp_path / "one/functions/module.py"
    (compiled,) = module.parent.glob("__pycache__/*.pyc")
    assert (
        int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b01
    )  # PEP 552: by hash, unchecked
    assert b"/var/task/functions/module.py" in compiled.read_bytes()
    assert str(tmp_path).encode() not in compiled.read_bytes()


def test_a_syntax_error_is_no_artefact(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Unable, match="compiled"):
        build._compile(lay(tmp_path, {"module.py": "def\n"}), PYTHON)
    assert "module.py" in capfd.readouterr().out


def test_files_that_no_function_reads_are_removed(tmp_path: Path) -> None:
    parts = "[opentelemetry_context]\ncontext = a.b:C\n"
    lay(
        tmp_path,
        {
            "botocore/data/endpoints.json": json.dumps(
                {
                    "partitions": [
                        {
                            "partition": "aws",
                            "services": {"s3": {"endpoints": {}}, "ec2": {"endpoints": {}}},
                        }
                    ]
                }
            ),
            "botocore/data/s3/2006-03-01/service-2.json.gz": "",
            "botocore/data/ec2/2016-11-15/service-2.json.gz": "",
            "bin/tool": "",
            "msgpack/_cmsgpack.pyx": "",
            "msgpack/ext.py": "",
            "aiohttp/web_app.py": "",
            "aiohttp/_websocket/reader_c.so": "",
            "aiohttp/_websocket/reader_py.py": "",
            "pydantic/v1/main.py": "",
            "parts-1.0.dist-info/entry_points.txt": parts,
            "parts-1.0.dist-info/METADATA": "",
            "parts-1.0.dist-info/RECORD": "",
            "tool-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = a.b:main\n",
            "tool-1.0.dist-info/licenses/LICENSE": "",
        },
    )
    build._prune(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in build._files(tmp_path)] == [
        "aiohttp/_websocket/reader_py.py",
        "botocore/data/endpoints.json",
        "botocore/data/s3/2006-03-01/service-2.json.gz",
        "msgpack/ext.py",
        "parts-1.0.dist-info/METADATA",
        "parts-1.0.dist-info/entry_points.txt",
    ]
    assert not (tmp_path / "tool-1.0.dist-info").exists()
    endpoints = json.loads((tmp_path / "botocore/data/endpoints.json").read_text())
    assert endpoints == {
        "partitions": [{"partition": "aws", "services": {"s3": {"endpoints": {}}}}]
    }


# ── That it starts ────────────────────────────────────────────────────────────────────────────────


def test_every_handler_is_imported_and_finds_nothing_but_the_artefact(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {"functions/__init__.py": "", "functions/good.py": "def handler(event, context): ..."},
    )
    build.check(tmp_path, PYTHON)
    assert not list(tmp_path.rglob("*.pyc")), "the check has changed what it checks"

    lay(tmp_path, {"functions/lacking.py": "import pytest\ndef handler(event, context): ..."})
    with pytest.raises(
        Unable, match=r"functions\.lacking: ModuleNotFoundError: No module named 'pytest'"
    ):
        build.check(tmp_path, PYTHON)

    lay(tmp_path, {"functions/lacking.py": "handler = None"})
    with pytest.raises(Unable, match=r"functions\.lacking: AssertionError"):
        build.check(tmp_path, PYTHON)


def test_an_artefact_without_handlers_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(Unable, match="no handler"):
        build.check(tmp_path, PYTHON)


def test_no_function_imports_packages_for_requests_at_its_start() -> None:
    functions = [endpoint.module for endpoint in ENDPOINTS]
    program = (
        "import sys, json, importlib\n"
        f"for name in {functions}: importlib.import_module(f'functions.{{name}}')\n"
        f"print(json.dumps([name for name in {LATE} if name in sys.modules]))"
    )
    done = subprocess.run(
        [PYTHON, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


# ── With which Python ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def path_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder where commands are found, and an empty home."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield tmp_path / "bin"


def command(path: Path, text: str) -> Path:
    """An executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_an_interpreter_is_one_that_runs(path_of: Path, tmp_path: Path) -> None:
    assert build.interpreter(sys.version_info[:2]) == PYTHON
    assert build.interpreter((3, 99)) is None

    command(
        path_of / "python3.99", "echo 'python3.99: command not found' >&2; exit 127"
    )  # as a version manager's
    assert build.interpreter((3, 99)) is None

    managed = command(tmp_path / ".pyenv/versions/3.99.1/bin/python3.99", "echo 3 99")
    assert build.interpreter((3, 99)) == managed
    named = command(path_of / "python3.99", "echo 3 99")
    assert build.interpreter((3, 99)) == named


def test_without_the_wanted_python_there_is_one_line_and_no_artefact(
    path_of: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "VERSION", (3, 99))  # uv knows of none, without asking the network
    assert build.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = [line for line in said.err.splitlines() if line.startswith("pieria:")]
    assert line.startswith("pieria: Python 3.99 is needed") and "pyenv install 3.99" in line
    assert "Traceback" not in said.err


# ── The real one ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.cloud
def test_two_builds_are_the_same_to_the_byte(tmp_path: Path) -> None:
    """Downloads wheels, and so runs where the local cloud does."""
    wanted = build.interpreter(build.VERSION)
    if wanted is None:
        pytest.skip(f"there is no Python {build.VERSION} on this machine to compile for Lambda")
    made = [
        build.make(tmp_path / name / "package", wanted, build.API_ONLY, for_lambda=True)
        for name in ("one", "two")
    ]
    assert made[0] == made[1]
    assert made[0].size <= build.API_ONLY.max_bytes

    package = tmp_path / "one" / "package"
    held = {path.relative_to(package) for path in build._files(package)}
    tops = {path.parts[0] for path in held}
    assert {"functions", "shared", "fastapi", "aioboto3", "pydantic_core"} <= tops
    assert not {"tests", "infra", "bench", "moto", "pytest", "typer", "template.yaml"} & tops
    assert {
        path.parts[2]
        for path in held
        if path.parts[:2] == ("botocore", "data") and len(path.parts) > 3
    } <= set(build.SERVICES)
    sources = {path for path in held if path.suffix == ".py"}
    compiled = {path for path in held if path.suffix == ".pyc"}
    tag = "cpython-{}{}".format(*build.VERSION)
    assert compiled == {path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc" for path in sources}
    for path in held:
        if path.suffix == ".so":
            machine = (package / path).read_bytes()[18:20]
            assert machine == b"\xb7\x00", f"{path} is not for arm64"
