"""Tools with dependencies of their own: each in an environment under `.tools/`, made from `infra/locks/<name>.lock`.

    environment("sam") / "sam"      the SAM command line

An environment is made when it is first asked for, and again when its lock or its interpreter is another.
"""

import fcntl
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCKS = Path(__file__).parent / "locks"
TOOLS = ROOT / ".tools"


def environment(name: str, python: Path | None = None) -> Path:
    """The `bin` folder of a tool's environment, for this interpreter or a given one.

    Raises subprocess.CalledProcessError when it cannot be made: pip has said why.
    """
    python = python or Path(sys.executable)
    lock, folder = LOCKS / f"{name}.lock", TOOLS / name
    wanted, made_from = f"{python}\n{lock.read_text()}", folder / "made-from"
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / f"{name}.mutex").open("w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        if not made_from.exists() or made_from.read_text() != wanted:
            print(f"Installing {name} into {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
            subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
            pip = [str(folder / "bin/python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
            subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(lock)], check=True)
            made_from.write_text(wanted)  # last: without it the whole is made anew
    return folder / "bin"


def runtime_emulator() -> Path:
    """AWS's own runtime interface emulator for this machine, from the SAM CLI's wheel."""
    architecture = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
    packages = environment("sam").parent / "lib"
    found = sorted(packages.glob(f"python3.*/site-packages/samcli/local/rapid/aws-lambda-rie-{architecture}"))
    if not found:
        raise FileNotFoundError(f"the SAM CLI in {packages} brings no runtime emulator for {architecture}")
    return found[-1]


if __name__ == "__main__":
    print(environment(sys.argv[1]))
