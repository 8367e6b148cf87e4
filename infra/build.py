"""The packages of the Lambda functions: `python3 -m infra.build` makes three folders.

    build/package    all functions, except the following
    build/pages      the web pages, with what renders them
    build/identity   the functions that verify tokens of identity providers, with cryptography too

A package has `functions/`, `shared/` and their dependencies (`infra/locks/package.lock`,
`pages.lock`, `identity.lock`), for the Python and the processor of `template.yaml`. Modules are
compiled, and files that no function reads are left out. `build/package.zip` and the other two zips
have the same files. Two builds are equal byte for byte. So the functions that most requests use
stay small.

This machine may not be able to run that package. So `build/host` is made in the same way for this
machine, and every handler is imported from there. With `--host` only `build/host` is made; without
Python 3.13 it is made for the Python that runs this module. This module runs before anything is
installed: it imports the standard library only.
"""

import argparse
import configparser
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from functions import endpoints
from infra import tools
from infra.tools import Unable

ROOT = Path(__file__).parent.parent
LOCK = Path(__file__).parent / "locks" / "package.lock"
PAGES_LOCK = Path(__file__).parent / "locks" / "pages.lock"
IDENTITY_LOCK = Path(__file__).parent / "locks" / "identity.lock"
BUILD = ROOT / "build"
NO_HANDLERS = {"__init__", "endpoints", "grants"}
"""The modules of `functions/` that are not Lambda functions."""
PACKAGE = BUILD / "package"
PAGES = BUILD / "pages"
IDENTITY = BUILD / "identity"
HOST = BUILD / "host"
HOST_PYTHON = BUILD / "host-python"
"""A file with the path of the interpreter that `build/host` was made for."""

VERSION = (3, 13)
"""The Python version of the template's functions."""
PLATFORM = "aarch64-manylinux_2_28"
"""The processor of the template's functions, as uv names it. Amazon Linux 2023 has glibc 2.34, so
it can use wheels for glibc 2.28."""
TASK_ROOT = "/var/task"
"""The folder in which Lambda unpacks the package. Tracebacks show it."""

SECONDS_1970_TO_2000 = 946_684_800
"""The time of every file: the year 2000. A zip cannot store a time before 1980."""

SERVICES = {"dynamodb", "s3", "ssm", "sts"}
"""The AWS services that a function calls. botocore contains the descriptions of four hundred
services."""
UNUSED = (
    *(
        "**/*.pyi",
        "**/*.pyx",
        "**/*.pxd",
        "**/*.pxi",
        "**/*.c",
        "**/*.h",
        "**/py.typed",
        "**/*.md",
        "**/*.rst",
    ),
    *("bin", "boto3/data", "boto3/examples", "aioitertools/tests", "dateutil/zoneinfo/*.tar.gz"),
    *(
        "anyio/pytest_plugin.py",
        "pydantic/mypy.py",
        "aiohttp/pytest_plugin.py",
        "aiohttp/test_utils.py",
    ),
    *("anyio/_backends/_trio.py", "uvicorn/protocols/websockets/w*_impl.py"),
    # The server of aiohttp. Its WebSocket and its frozen lists have slower versions in Python,
    # which are enough.
    *("aiohttp/web*.py", "aiohttp/worker.py", "aiohttp/_websocket/*.so", "frozenlist/*.so"),
    # Archives, a binding for PyPy, and examples.
    *(
        "backports/zstd/_cffi",
        "backports/zstd/tarfile.py",
        "backports/zstd/zipfile",
        "backports/zstd/_shutil.py",
    ),
    *("botocore/data/*/*/examples-1.json", "click/testing.py", "starlette/testclient.py"),
    # Cached properties, which have a slower version in Python.
    "propcache/*.so",
    # The compiled module of PyNaCl needs only the compiled module of cffi.
    *("cffi", "pycparser", "nacl/pwhash"),
    # FastAPI only checks whether a class is one of these. Without them it starts faster.
    "pydantic/v1",
)
"""Files of packages that no function uses."""


class Contents(NamedTuple):
    """What an artefact has: the packages of a lock, our modules except `left_out`, and at most
    `max_bytes`.
    """

    lock: Path
    left_out: tuple[str, ...]
    max_bytes: int


_WITH_IDENTITY = tuple(f"functions/{module}.py" for module in sorted(endpoints.IDENTITY))
_PAGES_ONLY = tuple(
    f"functions/{endpoint.module}.py"
    for endpoint in endpoints.PAGES
    if endpoint.module not in endpoints.IDENTITY
)
API_ONLY = Contents(LOCK, (*_WITH_IDENTITY, *_PAGES_ONLY, "shared/web"), 40_000_000)
WITH_PAGES = Contents(PAGES_LOCK, _WITH_IDENTITY, 55_000_000)
WITH_IDENTITY = Contents(IDENTITY_LOCK, (), 71_000_000)


class Made(NamedTuple):
    """An artefact: the digest of its tree, and how many bytes its files have."""

    digest: str
    size: int


def main(arguments: list[str] | None = None) -> int:
    """Build. Returns the exit status: 2 with one line on stderr if the build fails."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.build", description="Build the package of the Lambda functions."
    )
    parser.add_argument("--host", action="store_true", help="build only for this machine")
    options = parser.parse_args(arguments)
    try:
        if options.host:
            make_for_host(interpreter(VERSION))
        else:
            python = interpreter(VERSION) or downloaded(VERSION)
            make_for_lambda(python)
            make_for_host(python)
    except Unable as problem:
        print(f"pieria: {problem}", file=sys.stderr)
        return 2
    return 0


def make_for_lambda(python: Path) -> None:
    """Make the three packages and their zips, compiled by this interpreter, which has VERSION.
    Raises Unable."""
    packages = ((IDENTITY, WITH_IDENTITY), (PAGES, WITH_PAGES), (PACKAGE, API_ONLY))
    for folder, contents in packages:
        made = make(folder, python, contents, for_lambda=True)
        packed = pack(folder, folder.with_suffix(".zip"))
        name = f"build/{folder.name}"
        print(f"{name:14} sha256 {made.digest}  {_mb(made.size)}, {_mb(packed)} as {name}.zip")


def make_for_host(python: Path | None) -> None:
    """Make `build/host` and import its handlers.

    None means the running interpreter. Raises Unable.
    """
    if python is None:
        print(
            f"no Python {_dotted(VERSION)} here: build/host is for {_dotted(sys.version_info[:2])}"
        )
        python = Path(sys.executable)
    made = make(HOST, python, WITH_IDENTITY, for_lambda=False)
    check(HOST, python)
    HOST_PYTHON.write_text(f"{python}\n")
    imported = f"imports {len(handlers(HOST))} handlers"
    print(f"build/host     sha256 {made.digest}  {_mb(made.size)}, {imported}")


def interpreter(version: tuple[int, ...]) -> Path | None:
    """An interpreter of this version (major, minor), if the machine has one that runs."""
    name = f"python{_dotted(version)}"
    candidates = [
        Path(sys.executable),
        *(Path(folder) / name for folder in os.get_exec_path()),
        *sorted(Path.home().glob(f".pyenv/versions/{_dotted(version)}.*/bin/{name}")),
        *sorted(
            Path.home().glob(f".local/share/uv/python/cpython-{_dotted(version)}.*/bin/{name}")
        ),
    ]
    return next((path for path in candidates if path.exists() and _version(path) == version), None)


def downloaded(version: tuple[int, ...]) -> Path:
    """An interpreter of this version (major, minor) that uv downloads and keeps for the user.

    Raises Unable.
    """
    name = _dotted(version)
    print(
        f"Downloading Python {name}, which compiles the modules for Lambda (once)",
        file=sys.stderr,
        flush=True,
    )
    if tools.uv("python", "install", name, quiet=True).returncode:
        raise Unable(
            f"Python {name} is needed to compile the modules for Lambda, and uv cannot download it"
            f" here: install it (`pyenv install {name}`, or a package of the system);"
            " `make serve` and `make invoke` work without it"
        )
    found = tools.uv("python", "find", "--managed-python", "--no-project", name, quiet=True)
    return Path(found.stdout.strip())


def host_python() -> Path:
    """The interpreter that `build/host` was made for. Raises FileNotFoundError before a build."""
    return Path(HOST_PYTHON.read_text().strip())


def handlers(folder: Path) -> list[str]:
    """The modules of an artefact that contain a Lambda function, by name."""
    modules = {path.stem for path in (folder / "functions").glob("*.py")}
    return sorted(f"functions.{module}" for module in modules - NO_HANDLERS)


def check(folder: Path, python: Path) -> None:
    """Import every handler, each in a new process that can import only from the artefact.

    Raises Unable.
    """

    def complaint(module: str) -> str:
        source = (
            f"import sys; sys.path.insert(0, {str(folder)!r}); import {module};"
            f" assert callable({module}.handler)"
        )
        # -S: without the packages of this machine; -B: the check does not write into the artefact.
        done = subprocess.run(
            [python, "-ISB", "-c", source], env=_plain(), capture_output=True, text=True
        )
        if done.returncode:
            return f"{module}: {done.stderr.strip().splitlines()[-1]}"
        return ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = [found for found in pool.map(complaint, handlers(folder)) if found]
    if not handlers(folder):
        complaints.append("it contains no handler")
    if complaints:
        raise Unable(f"the artefact does not start: {complaints[0]}")


def digest(folder: Path) -> str:
    """SHA-256 over every file's path, mode and content."""
    total = hashlib.sha256()
    for path in _files(folder):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder)} {path.stat().st_mode:o} {content}\n".encode())
    return total.hexdigest()


def pack(folder: Path, archive: Path) -> int:
    """Write an artefact as a zip. Equal files give an equal zip. Returns its size in bytes."""
    with zipfile.ZipFile(archive, "w") as packed:
        for path in _files(folder):
            entry = zipfile.ZipInfo(str(path.relative_to(folder)), (2000, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix: the mode bits are used
            entry.external_attr = path.stat().st_mode << 16
            packed.writestr(entry, path.read_bytes())
    return archive.stat().st_size


def make(folder: Path, python: Path, contents: Contents, *, for_lambda: bool) -> Made:
    """Make an artefact in a temporary folder, and rename the folder when it is complete."""
    fresh = folder.with_name(f".{folder.name}-new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    _install(fresh, python, contents.lock, for_lambda=for_lambda)
    _prune(fresh)
    for name in ("functions", "shared"):
        shutil.copytree(ROOT / name, fresh / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in contents.left_out:
        left_out = fresh / name
        shutil.rmtree(left_out) if left_out.is_dir() else left_out.unlink()
    shutil.copy(ROOT / "run.sh", fresh)
    _compile(fresh, python)
    for path in [fresh, *fresh.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.suffix == ".sh" else 0o644)
        os.utime(path, (SECONDS_1970_TO_2000, SECONDS_1970_TO_2000))
    made = Made(digest(fresh), sum(path.stat().st_size for path in _files(fresh)))
    if made.size > contents.max_bytes:
        raise Unable(
            f"the artefact has {_mb(made.size)}, more than {_mb(contents.max_bytes)}: look for new"
            f" files in {fresh}"
        )
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return made


def _install(folder: Path, python: Path, lock: Path, *, for_lambda: bool) -> None:
    """Install the packages of the lock into a folder. Raises Unable."""
    # Copied, not linked: the files are changed later, and those in the cache of uv must stay as
    # they are.
    options = [
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--link-mode=copy",
        f"--python={python}",
    ]
    if for_lambda:
        options += [f"--python-platform={PLATFORM}", f"--python-version={_dotted(VERSION)}"]
    if tools.uv("pip", "install", "--quiet", f"--target={folder}", *options, "-r", lock).returncode:
        raise Unable(
            f"{lock.relative_to(ROOT)} could not be installed, see above: check the network, run it"
            " again"
        )
    (folder / ".lock").unlink(missing_ok=True)  # a file of uv


def _prune(folder: Path) -> None:
    """Delete the files that no function uses."""
    for pattern in UNUSED:
        for path in list(folder.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for described in (folder / "botocore/data").iterdir():
        if described.is_dir() and described.name not in SERVICES:
            shutil.rmtree(described)
    endpoints = folder / "botocore/data/endpoints.json"
    known = json.loads(endpoints.read_text())
    for partition in known["partitions"]:
        partition["services"] = {
            name: where for name, where in partition["services"].items() if name in SERVICES
        }
    endpoints.write_text(json.dumps(known))
    _prune_metadata(folder)


def _prune_metadata(folder: Path) -> None:
    """Delete the metadata of packages, except where their entry points are needed."""
    for metadata in folder.glob("*.dist-info"):
        # OpenTelemetry finds its parts by entry points. Others are deleted, since pydantic would
        # read all of them.
        if _offers_parts(metadata / "entry_points.txt"):
            kept = {"METADATA", "entry_points.txt"}
        else:
            kept = set()
        for path in sorted(metadata.rglob("*"), reverse=True):
            if path.is_dir():
                path.rmdir()
            elif path.name not in kept:
                path.unlink()
        if not kept:
            metadata.rmdir()


def _offers_parts(entry_points: Path) -> bool:
    """Whether a package has entry points other than commands."""
    if not entry_points.exists():
        return False
    parser = configparser.ConfigParser(delimiters="=")
    parser.read_string(entry_points.read_text())
    return bool(set(parser.sections()) - {"console_scripts", "gui_scripts"})


def _compile(folder: Path, python: Path) -> None:
    """Store the bytecode of every module, without a check against its source: files in Lambda never
    change."""
    compileall = [
        str(python),
        "-S",
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
    ]
    # In one process and with a fixed hash seed: the bytecode depends on both.
    environment = _plain() | {"PYTHONHASHSEED": "0"}
    if subprocess.run(
        [*compileall, "-s", str(folder), "-p", TASK_ROOT, str(folder)], env=environment
    ).returncode:
        raise Unable("not every module can be compiled: see above")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _version(python: Path) -> tuple[int, ...] | None:
    """(major, minor) of an interpreter. None if it does not start."""
    asked = subprocess.run(
        [python, "-ISc", "import sys; print(*sys.version_info[:2])"],
        env=_plain(),
        capture_output=True,
        text=True,
    )
    if asked.returncode == 0:
        return tuple(map(int, asked.stdout.split()))
    return None


def _plain() -> dict[str, str]:
    """The environment without the variables that Python reads."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _mb(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
