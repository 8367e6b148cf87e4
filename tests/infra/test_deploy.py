"""`make deploy` in an account: moto answers for AWS, and a script stands in for the SAM CLI."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import pytest
from moto.server import ThreadedMotoServer

from infra import deploy, ports, tools
from shared import signing

ROOT = Path(__file__).parent.parent.parent
REGION = "eu-central-1"
SAM = """\
#!/bin/sh
echo "sam $*" >> steps
case "$*" in
*--guided*) test ! -e answers || cat answers >> samconfig.toml ;;
esac
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    """The URL of an AWS that has STS and SSM."""
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def project(cloud: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A project whose build and SAM CLI write down that they ran.

    The environment leads to the cloud.
    """
    (tmp_path / "Makefile").write_text("build/package.zip:\n\t@echo build >> steps\n")
    tool = tmp_path / ".tools" / "sam"
    (tool / "bin").mkdir(parents=True)
    (tool / "made-from").write_text(f"{sys.executable}\n{(tools.LOCKS / 'sam.lock').read_text()}")
    (tool / "bin" / "sam").write_text(SAM)
    (tool / "bin" / "sam").chmod(0o755)
    monkeypatch.setattr(tools, "TOOLS", tmp_path / ".tools")
    monkeypatch.setattr(deploy, "ROOT", tmp_path)
    monkeypatch.setattr(deploy, "SAVED", tmp_path / "samconfig.toml")
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with mock.patch.dict(os.environ):  # a deployment changes it
        yield tmp_path


def steps(project: Path) -> list[str]:
    """What ran, in order."""
    log = project / "steps"
    return log.read_text().splitlines() if log.exists() else []


def save(project: Path, **parameters: str) -> None:
    """Answers of an earlier deployment."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in parameters.items()]
    (project / "samconfig.toml").write_text("\n".join(["[default.deploy.parameters]", *lines, ""]))


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a deployment that ends before anything ran."""
    assert deploy.main() == 2
    said = capsys.readouterr().err
    assert said.startswith("pieria: ") and said.count("\n") == 1
    return said


def has_key(cloud: str, parameter: str) -> bool:
    """Whether the parameter has a public key and a secret for cursors."""
    client: Any = boto3.client("ssm", endpoint_url=cloud, region_name=REGION)
    found = client.get_parameters(Names=[parameter], WithDecryption=True)["Parameters"]
    stored = [key for value in found for key in json.loads(value["Value"]).values()]
    return [signing.kind(key) for key in stored] == ["seal", "Ed25519"]


# ── Before the build ──────────────────────────────────────────────────────────────────────────────


def test_a_deployment_without_a_region_names_a_command_that_sets_one(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "`AWS_DEFAULT_REGION=eu-central-1 make deploy`" in refused(capsys)
    assert steps(project) == []


def test_a_deployment_with_a_profile_that_does_not_exist_names_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    line = refused(capsys)
    assert "(nobody)" in line and "set AWS_PROFILE to a profile of ~/.aws/config" in line
    assert steps(project) == []


def test_a_deployment_without_credentials_says_log_in_before_it_builds(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_REGION", REGION)
    line = refused(capsys)
    assert "there are no AWS credentials: log in again" in line
    assert steps(project) == []


def test_a_deployment_with_an_expired_sso_session_says_log_in(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"[profile work]\nregion = {REGION}\nsso_start_url = http://127.0.0.1:9/start\n"
        f"sso_region = {REGION}\nsso_account_id = 123456789012\nsso_role_name = admin\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "work")
    line = refused(capsys)
    assert "log in again" in line and "network" not in line
    assert steps(project) == []


def test_a_deployment_without_a_network_does_not_say_log_in(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{ports.free()}")
    monkeypatch.setenv("AWS_REGION", REGION)
    line = refused(capsys)
    assert "cannot be reached" in line and "check the network" in line and "log in" not in line
    assert steps(project) == []


def test_a_samconfig_that_cannot_be_read_is_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "samconfig.toml").write_text("stack_name =\n")
    assert "samconfig.toml cannot be read" in refused(capsys)


# ── The steps ─────────────────────────────────────────────────────────────────────────────────────


def test_the_first_deployment_makes_the_key_under_the_name_that_the_user_gives(
    project: Path, cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    (project / "answers").write_text(
        f'region = "{REGION}"\nparameter_overrides = "SigningKeysParameter=\\"/second/keys\\"'
        ' Edge=\\"none\\""\n'
    )
    assert deploy.main() == 0
    assert steps(project) == ["build", "sam build", f"sam deploy --region {REGION} --guided"]
    assert has_key(cloud, "/second/keys") and not has_key(cloud, "/pieria/signing-keys")
    assert (project / "samconfig.toml").stat().st_mode & 0o777 == 0o600


def test_a_first_deployment_without_saved_answers_names_the_command_for_the_key(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    assert deploy.main() == 2
    assert "`pieria key rotate --parameter`" in capsys.readouterr().err


def test_later_deployments_ask_nothing_and_go_to_the_saved_region(
    project: Path, cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    save(project, region=REGION, parameter_overrides='SigningKeysParameter="/third/keys"')
    assert deploy.main() == 0
    assert steps(project) == ["build", "sam build", f"sam deploy --region {REGION}"]
    assert has_key(cloud, "/third/keys")
    assert os.environ["AWS_REGION"] == REGION


def test_a_step_that_fails_ends_the_deployment(project: Path, cloud: str) -> None:
    save(project, region=REGION, parameter_overrides="SigningKeysParameter=/fourth/keys")
    (project / "Makefile").write_text("build/package.zip:\n\t@exit 1\n")
    assert deploy.main() == 2
    assert steps(project) == [] and not has_key(cloud, "/fourth/keys")


def test_no_change_is_made_before_the_user_has_agreed() -> None:
    saved = tomllib.loads(deploy.EXAMPLE.read_text())["default"]["deploy"]["parameters"]
    assert saved["confirm_changeset"] is True
    assert saved["capabilities"] == "CAPABILITY_IAM"  # no role with a name of its own


def test_git_ignores_the_answers_which_hold_a_secret() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    tracked = subprocess.run(
        ["git", "ls-files", "samconfig.toml"], cwd=ROOT, capture_output=True, text=True
    )
    assert tracked.stdout == ""
    assert subprocess.run(["git", "check-ignore", "-q", "samconfig.toml"], cwd=ROOT).returncode == 0
