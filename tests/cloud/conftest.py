"""One stack for the whole run.

Repositories are islands, so an owner of its own is all that a test needs.
"""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infra.cloud import deployment, servers
from infra.embedded_aws import EmbeddedAws

KEYS_PARAMETER = "/pieria/signing-keys"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the log and the answers of the deployment."""
    return tmp_path_factory.mktemp("cloud")


@pytest.fixture(scope="session")
def stack(folder: Path, aws: EmbeddedAws) -> Iterator[deployment.Stack]:
    """The deployed stack. Its signing keys are those of the tests, so that `client.token` is good
    there, too.
    """
    trust = folder / "trust.pem"
    with servers.ministack(folder / "ministack", trust=trust) as url:
        cloud = deployment.Stack(url, trust)
        cloud.client("ssm").put_parameter(
            Name=KEYS_PARAMETER, Type="SecureString", Value=os.environ["PIERIA_SIGNING_KEYS"]
        )
        parameters = {"PushToCreate": "on", "SigningKeysParameter": KEYS_PARAMETER}
        yield deployment.deploy(cloud, folder, parameters)


@pytest.fixture(scope="session")
def hub(stack: deployment.Stack) -> Iterator[httpx.Client]:
    """A client of the deployed API."""
    with httpx.Client(
        base_url=stack.aws_url,
        headers={"host": stack.host},
        verify=ssl.create_default_context(cafile=stack.trust),
        timeout=2 * deployment.PATIENCE_SECONDS,
    ) as client:
        yield client


@pytest.fixture(scope="session")
def web(stack: deployment.Stack) -> Iterator[httpx.Client]:
    """A client with nothing but URLs."""
    with httpx.Client(
        verify=ssl.create_default_context(cafile=stack.trust),
        timeout=2 * deployment.PATIENCE_SECONDS,
    ) as client:
        yield client
