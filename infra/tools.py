"""Environments for Python programs, each installed by uv from a lock with digests.

    python3 -m infra.tools sam           make .tools/sam from infra/locks/sam.lock, print its bin
                                         folder
    python3 -m infra.tools --venv LOCK   make .venv from this lock

uv itself comes from PyPI, by pip. An environment is made when it is first needed, and again when
its lock or its interpreter has changed. This module runs before anything is installed, so it
imports the standard library only.
"""

import argparse
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCKS = Path(__file__).parent / "locks"
TOOLS = ROOT / ".tools"
VENV = ROOT / ".venv"
DEV_LOCK = ROOT / "requirements.lock"
"""Contains every package of AWS_LOCK, in the same version."""
AWS_LOCK = LOCKS / "aws.lock"
"""Contains every package of infra/locks/serve.lock, in the same version."""

PIP = ("-m", "pip", "--disable-pip-version-check")
_UV_OF_PIP = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}
"""Settings of pip, and the variable by which uv takes each of them."""


class Unable(Exception):
    """An environment could not be made. The message is one line with the next step."""


def main() -> int:
    """Make an environment. Returns the exit status: 2 with one line on stderr if that fails."""
    parser = argparse.ArgumentParser(
        prog="python3 -m infra.tools", description="Install programs from their locks."
    )
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("tool", nargs="?", help="name of a lock in infra/locks, without .lock")
    wanted.add_argument("--venv", type=Path, metavar="LOCK", help="install this lock into .venv")
    options = parser.parse_args()
    try:
        if options.venv:
            prepare_venv(options.venv)
        else:
            print(environment(options.tool))
    except Unable as problem:
        print(f"pieria: {problem}", file=sys.stderr)
        return 2
    return 0


def environment(name: str, python: Path | None = None) -> Path:
    """The `bin` folder of a tool's environment, for this interpreter or a given one.

    Raises Unable.
    """
    python = python or Path(sys.executable)
    lock = LOCKS / f"{name}.lock"
    folder = TOOLS / name
    made_from = folder / "made-from"
    if name == "uv":
        wanted = lock.read_text()
    else:
        wanted = f"{python}\n{lock.read_text()}"
    with _only_one_process(name):
        if not made_from.exists() or made_from.read_text() != wanted:
            _say(f"Installing {name} into {folder.relative_to(ROOT)}")
            if name == "uv":
                _install_uv(folder, lock)
            else:
                _make(folder, python)
                _fill(folder, lock)
            made_from.write_text(wanted)  # last: an interrupted installation is made again
    return folder / "bin"


def prepare_venv(lock: Path) -> None:
    """Install the packages of this lock into `.venv`, unless it has them. Raises Unable.

    A copy of the lock in `.venv` records the installed packages.
    """
    with _only_one_process("venv"):
        runs = _runs(VENV / "bin" / "python")
        sufficient = [lock, DEV_LOCK]
        if lock.name == "serve.lock":
            sufficient.append(AWS_LOCK)
        if runs and any(_is_copied(candidate) for candidate in sufficient):
            return
        _say("Installing the packages of this command into .venv (once)")
        for copy in VENV.glob("*.lock"):
            copy.unlink()
        if not runs:
            _make(VENV, Path(sys.executable))
        _fill(VENV, lock)
        shutil.copyfile(lock, VENV / lock.name)  # last: an interrupted installation is made again


def uv(*arguments: str | Path, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """Run uv, with its progress on stderr.

    `quiet` captures the output. Raises Unable if uv cannot be installed.
    """
    program = environment("uv") / "uv"
    return subprocess.run(
        [program, *arguments], env=_settings(program), capture_output=quiet, text=True
    )


def runtime_emulator() -> Path:
    """AWS's own runtime interface emulator for this machine, from the SAM CLI's wheel."""
    if platform.machine() in ("arm64", "aarch64"):
        architecture = "arm64"
    else:
        architecture = "x86_64"
    packages = environment("sam").parent / "lib"
    found = sorted(
        packages.glob(f"python3.*/site-packages/samcli/local/rapid/aws-lambda-rie-{architecture}")
    )
    if not found:
        raise FileNotFoundError(
            f"the SAM CLI in {packages} has no runtime emulator for {architecture}"
        )
    return found[-1]


def _install_uv(folder: Path, lock: Path) -> None:
    """Install uv by pip, since a new machine has pip only."""
    lines = [
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [
            str(folder / "bin" / "python"),
            *PIP,
            "install",
            "-qq",
            "--no-deps",
            "--require-hashes",
            "-r",
            str(lock),
        ],
    ]
    for line in lines:
        if subprocess.run(line).returncode:
            raise Unable("uv could not be installed, see above: check the network, run it again")


def _make(folder: Path, python: Path) -> None:
    """Make an empty environment. It replaces the folder."""
    if uv("venv", "--quiet", "--clear", "--no-project", "--python", python, folder).returncode:
        raise Unable(f"{folder.name} could not be made, see above: it needs {python}")


def _fill(folder: Path, lock: Path) -> None:
    """Install the packages of the lock, and remove all others."""
    python = folder / "bin" / "python"
    if uv("pip", "sync", "--python", python, "--require-hashes", lock).returncode:
        raise Unable(
            f"{lock.name} could not be installed, see above: check the network and the disk, run it"
            " again"
        )


def _settings(program: Path) -> Mapping[str, str]:
    """The environment of uv. uv uses a package index that is configured for pip."""
    line = [str(program.with_name("python")), *PIP, "config", "list"]
    listed = subprocess.run(line, capture_output=True, text=True).stdout
    configured = dict(re.findall(r"^(\S+)='(.*)'$", listed, re.MULTILINE))
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):  # the later one counts
        for option, variable in _UV_OF_PIP.items():
            if f"{section}.{option}" in configured:
                found[variable] = configured[f"{section}.{option}"]
    return found | os.environ


def _runs(python: Path) -> bool:
    """Whether this interpreter starts.

    An upgrade of the system may have removed the one that it points to.
    """
    return (
        python.exists() and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0
    )


def _is_copied(lock: Path) -> bool:
    copy = VENV / lock.name
    return copy.exists() and copy.read_bytes() == lock.read_bytes()


@contextmanager
def _only_one_process(name: str) -> Iterator[None]:
    """Make other processes wait until the environment is complete."""
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / f"{name}.mutex").open("w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        yield


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
