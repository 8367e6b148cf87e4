"""The stories of `tests/template`, which use every route, played on the deployed stack: the role of
each function suffices for its code.

Offline, the calls are compared with the template by our own reading of IAM's rules. Here ministack
applies its rules.
"""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from infra.cloud.deployment import Stack
from tests import client
from tests.client import Answer
from tests.conftest import NAMES
from tests.template import stories

pytestmark = pytest.mark.cloud

ELSEWHERE = {
    stories.a_push_to_a_damaged_repository: (
        "it needs a container that remembers nothing, in the middle"
    ),
    stories.first_writes_that_find_a_repository: "it makes its rival inside the process of the hub",
    stories.files_and_objects: "it is sent to S3 for what is large, as only AWS's own callers are",
}
"""Stories that need access from inside the stack, and why."""


@pytest.fixture
def deployed(configured: pytest.MonkeyPatch, stack: Stack, hub: httpx.Client) -> Iterator[None]:
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


@pytest.mark.parametrize(
    "story",
    [story for story in stories.STORIES if story not in ELSEWHERE],
    ids=lambda s: s.__name__,
)
@pytest.mark.usefixtures("deployed")
def test_a_story_goes_as_it_does_in_the_suite(story: Any, owner: str) -> None:
    story(f"told-{owner}", lambda function: None)
