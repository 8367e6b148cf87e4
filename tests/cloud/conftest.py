"""One stack for the whole run.

Repositories are islands, so an owner of its own is all that a test needs.
"""

import base64
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.cloud import deployment, servers
from infra.embedded_aws import EmbeddedAws
from tests import client
from tests.client import Answer
from tests.conftest import NAMES

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


@pytest.fixture
def deployed(
    configured: pytest.MonkeyPatch, stack: deployment.Stack, hub: httpx.Client
) -> Iterator[None]:
    """Send every request of the tests to the stack, and every direct access, too."""
    for name, value in {
        "AWS_ENDPOINT_URL": stack.aws_url,
        "AWS_CA_BUNDLE": str(stack.trust),
        "SSL_CERT_FILE": str(stack.trust),
        "PIERIA_HUB_TABLE": stack.outputs["HubTable"],
        "PIERIA_COUNTER_TABLE": stack.outputs["CounterTable"],
        "PIERIA_BUCKET": stack.outputs["Bucket"],
    }.items():
        configured.setenv(name, value)
    for name in NAMES:
        configured.setitem(NAMES, name, stack.outputs[name])

    def over_http(function: str, event: dict[str, Any]) -> Answer:
        request = event["requestContext"]["http"]
        path = "/$default/health" if function == "health" else request["path"]
        headers = {
            name: value
            for name, value in event["headers"].items()
            if name not in ("host", "content-length")
        }
        url = f"{path}?{event['rawQueryString']}" if event["rawQueryString"] else path
        body = base64.b64decode(event["body"])
        with hub.stream(request["method"], url, content=body, headers=headers) as reply:
            # The body as it was sent: the story expands the reply.
            content = b"".join(reply.iter_raw())
        return Answer(reply.status_code, dict(reply.headers), content)

    configured.setattr(client, "invoke", over_http)
    yield
