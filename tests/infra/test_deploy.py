"""What is said before anything is asked of an account."""

import os
import tomllib
from pathlib import Path
from unittest import mock

import pytest

from infra import build, deploy


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Region in the environment or a profile, and nothing saved."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr(deploy, "SAVED", tmp_path / "samconfig.toml")
    deploy.SAVED.write_text("[default.deploy.parameters]\n")


def test_a_deployment_needs_a_region(capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main() == 2
    said = capsys.readouterr().err
    assert said.startswith("pieria: which Region?") and said.count("\n") == 1


def test_a_deployment_needs_a_profile_that_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert deploy.main() == 2
    said = capsys.readouterr().err
    assert "(nobody)" in said and said.startswith("pieria: ") and said.count("\n") == 1


def test_a_deployment_needs_something_to_deploy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setattr(build, "PACKAGE", tmp_path / "package")
    assert deploy.main() == 2
    assert "make build" in capsys.readouterr().err


def test_a_deployment_needs_somebody_who_may_read_the_signing_keys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setattr(build, "PACKAGE", tmp_path)
    environment = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_REGION": "us-west-2"}
    with mock.patch.dict(os.environ, environment):
        assert deploy.main() == 2
        assert os.environ["AWS_REGION"] == "eu-central-1"  # the keys, and what SAM deploys, are in the same
    said = capsys.readouterr().err
    assert "log in anew" in said and said.startswith("pieria: ") and said.count("\n") == 1


def test_nothing_changes_before_somebody_has_agreed() -> None:
    saved = tomllib.loads((deploy.ROOT / "samconfig.toml").read_text())["default"]["deploy"]["parameters"]
    assert saved["confirm_changeset"] is True
    assert saved["capabilities"] == "CAPABILITY_IAM"  # no role with a name of its own
