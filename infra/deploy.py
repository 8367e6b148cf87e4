"""The hub into an account: `python -m infra.deploy`, after `make build`.

By the SAM CLI, to where the AWS credentials and the Region in the environment or the profile lead. The first time it
asks for the template's parameters, and keeps the answers in `samconfig.toml`; a signing key is made before, if
there is none. Nothing changes before the list of changes has been confirmed.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import boto3
from botocore.exceptions import ProfileNotFound

from infra import build, tools
from infra.cli import key
from infra.cli.problem import Problem

ROOT = Path(__file__).parent.parent
SAVED = ROOT / "samconfig.toml"


def main() -> int:
    """Deploy. Returns the exit status of `sam`, or 2 with one line on stderr if it was not reached."""
    saved = tomllib.loads(SAVED.read_text())["default"]["deploy"]["parameters"]
    told = os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")
    try:
        region = saved.get("region") or told or boto3.Session().region_name
    except ProfileNotFound as error:
        return _unable(f"{error}: which are there, says aws configure list-profiles")
    if not region:
        return _unable("which Region? AWS_DEFAULT_REGION=eu-central-1 make deploy, or set one in the profile")
    if not build.PACKAGE.is_dir():
        return _unable("there is nothing to deploy: make build")
    os.environ.update(AWS_DEFAULT_REGION=region, AWS_REGION=region, SAM_CLI_TELEMETRY="0")
    try:
        if not key.read(key.USUAL).version:
            command = [sys.executable, "-m", "infra.cli", "key", "rotate", "--parameter", key.USUAL]
            if status := subprocess.run(command).returncode:
                return status
    except Problem as problem:
        return _unable(str(problem))
    guided = [] if "region" in saved else ["--guided"]
    command = [str(tools.environment("sam") / "sam"), "deploy", "--region", region, *guided]
    return subprocess.run(command, cwd=ROOT).returncode


def _unable(why: str) -> int:
    print(f"pieria: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
