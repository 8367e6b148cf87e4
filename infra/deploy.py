"""Deploy the hub into an AWS account: `make deploy`, which is `python -m infra.deploy`.

The Region and the credentials are those of `samconfig.toml`, the environment or the profile, in
this order. Both are checked before anything is built. Then the package is built and the SAM CLI
deploys it. The first time, the SAM CLI asks for the template's parameters and saves the answers in
`samconfig.toml`. It lists the changes, and asks before it makes them. Without a signing key,
one is made in the SSM parameter that the answers name.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError

from infra import tools
from infra.cli import aws, key
from infra.cli.cli_error import CliError

ROOT = Path(__file__).parent.parent
SAVED = ROOT / "samconfig.toml"
EXAMPLE = ROOT / "samconfig.example.toml"


def main() -> int:
    """Deploy. Returns the exit status of the step that failed, 2 with one line on stderr before the
    first one."""
    try:
        saved = settings()
        region = _lead_to_account(saved)
        print(f"Deploying into the account {aws.account(region)}, {region}", flush=True)
        is_first = "region" not in saved
        if not is_first:
            key.read(
                signing_keys(saved)
            )  # fails early if it cannot be read: the build takes a minute
        return _build() or _deploy(region, is_first=is_first)
    except (CliError, tools.Unable) as problem:
        print(f"pieria: {problem}", file=sys.stderr)
        return 2


def settings() -> Mapping[str, Any]:
    """Parameters of `sam deploy` in samconfig.toml, which is made from its example.

    Raises CliError.
    """
    if not SAVED.exists():
        shutil.copyfile(EXAMPLE, SAVED)
        SAVED.chmod(0o600)  # OriginSecret will be in it
    try:
        default = tomllib.loads(SAVED.read_text()).get("default", {})
        shared = default.get("global", {}).get("parameters", {})
        return {**shared, **default.get("deploy", {}).get("parameters", {})}
    except (tomllib.TOMLDecodeError, AttributeError, TypeError) as error:
        raise CliError(
            f"{SAVED.name} cannot be read ({error}): correct it, or delete it to be asked again"
        ) from None


def signing_keys(saved: Mapping[str, Any]) -> str:
    """The name of the SSM parameter for the signing keys: as saved, or the template's default."""
    given = saved.get("parameter_overrides", "")
    pairs = shlex.split(given) if isinstance(given, str) else map(str, given)
    parameters = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return parameters.get("SigningKeysParameter", key.USUAL)


def _lead_to_account(saved: Mapping[str, Any]) -> str:
    """Set the environment to the saved profile and Region. Returns the Region. Raises CliError."""
    if "profile" in saved:
        os.environ["AWS_PROFILE"] = saved["profile"]
    region_variable = os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")
    try:
        region = saved.get("region") or region_variable or boto3.Session().region_name
    except BotoCoreError as error:
        unanswered = aws.unanswered("credentials", "AWS", error)
        raise CliError(f"{unanswered.result}: {unanswered.fix}") from None
    if not region:
        raise CliError(
            "no AWS region is set: choose one, as in `AWS_DEFAULT_REGION=eu-central-1 make deploy`"
        )
    os.environ.update(AWS_DEFAULT_REGION=region, AWS_REGION=region, SAM_CLI_TELEMETRY="0")
    return str(region)


def _build() -> int:
    """Build the package, and the copies of it that the SAM CLI makes. Returns the exit status."""
    made = subprocess.run(["make", "--silent", "build/package.zip"], cwd=ROOT)
    return made.returncode or _sam("build")


def _deploy(region: str, *, is_first: bool) -> int:
    """Deploy the package, with its signing key. Returns the exit status. Raises CliError."""
    if not is_first:
        return _make_key(signing_keys(settings())) or _sam("deploy", "--region", region)
    # The name of the parameter is among the answers. No function needs the key before its first
    # request.
    status = _sam("deploy", "--region", region, "--guided")
    if status:
        return status
    saved = settings()
    if "region" not in saved:
        name = "the SigningKeysParameter that you gave"
        raise CliError(
            "the answers were not saved: make the key with `pieria key rotate --parameter`, and"
            f" {name}"
        )
    return _make_key(signing_keys(saved))


def _make_key(parameter: str) -> int:
    """Create the signing key if it is absent. Returns the exit status. Raises CliError."""
    if key.read(parameter).version:
        return 0
    print(f"Making the signing key in the SSM parameter {parameter}", flush=True)
    command = [sys.executable, "-m", "infra.cli", "key", "rotate", "--parameter", parameter]
    return subprocess.run(command).returncode


def _sam(*arguments: str) -> int:
    return subprocess.run([tools.environment("sam") / "sam", *arguments], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
