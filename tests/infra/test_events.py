"""The events of `sample_events/`: one for every route, none with a secret, each answered with a
success.
"""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from functions.endpoints import ENDPOINTS
from infra import invoke, stack
from infra.embedded_aws import EmbeddedAws
from shared import settings
from tests import client, issuer

EVENTS = sorted(invoke.EVENTS.glob("*.json"))
PLACEHOLDERS = {"TOKEN", "SESSION", "FORM", "TOKEN_ID", "REPO_ID"}


def test_every_route_has_an_event_of_its_function() -> None:
    """HEAD apart, which is requested like GET."""
    known = {(read(path)["routeKey"], invoke.function_of(path.stem)) for path in EVENTS}
    assert known == {
        (route.key, endpoint.module) for endpoint in ENDPOINTS for route in endpoint.routes
    }


def read(path: Path) -> dict[str, Any]:
    """The event in a file."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_an_event_is_one_that_the_gateway_could_send(path: Path) -> None:
    event = read(path)
    context = event["requestContext"]
    # A request without a route has the gateway's name for that, and no parameters.
    method, template = context["http"]["method"], event["rawPath"]
    if event["routeKey"] != "$default":
        method, template = event["routeKey"].split(" ")
    assert event["version"] == "2.0"
    assert context["routeKey"] == event["routeKey"]
    assert context["http"]["method"] == method
    assert context["http"]["path"] == event["rawPath"]
    parameters = {f"{name}+": value for name, value in event.get("pathParameters", {}).items()}
    parameters |= event.get("pathParameters", {})
    assert re.sub(r"\{([^}]+)\}", lambda found: parameters[found[1]], template) == event["rawPath"]
    query = "&".join(
        f"{name}={value}" for name, value in event.get("queryStringParameters", {}).items()
    )
    assert query == event["rawQueryString"]
    assert ("body" in event) == ("content-type" in event["headers"])
    assert int(event["headers"].get("content-length", 0)) == len(event.get("body", ""))
    # The token of no user, and no placeholder that `make invoke` does not fill in.
    assert event["headers"].get("authorization", "Bearer ${TOKEN}") == "Bearer ${TOKEN}"
    assert set(re.findall(r"\$\{(\w+)\}", path.read_text())) <= PLACEHOLDERS


@pytest.mark.parametrize(
    "name", [path.stem for path in EVENTS if path.stem not in issuer.NEEDS_PROVIDER]
)
def test_an_event_is_answered_with_a_success(
    name: str, aws: EmbeddedAws, configured: pytest.MonkeyPatch
) -> None:
    # Tables of its own: the repository and its owner are the same for every event.
    names = {"HubTable": f"hub-{uuid.uuid4()}", "CounterTable": f"counters-{uuid.uuid4()}"}
    configured.setenv("PIERIA_HUB_TABLE", names["HubTable"])
    configured.setenv("PIERIA_COUNTER_TABLE", names["CounterTable"])
    stack.create(aws.url, names)
    place = invoke.seeded(settings.load().signing_keys)
    answer = invoke.in_process(name, place)
    assert invoke.is_success(answer)
    assert "${" not in answer.body.decode(errors="replace")


@pytest.mark.parametrize("name", sorted(issuer.NEEDS_PROVIDER))
def test_an_event_of_a_provider_is_refused_without_one(name: str) -> None:
    with pytest.raises(invoke.Failed, match=r"was answered 40[0134]"):
        invoke.in_process(name, {"SESSION": client.session("me"), "FORM": ""})


def test_a_refusal_is_no_answer(aws: EmbeddedAws) -> None:
    with pytest.raises(invoke.Failed, match="repos was answered 401"):
        invoke.in_process("repos", {"TOKEN": "nonsense"})


def test_an_unknown_function_or_event_is_reported_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert invoke.main(["pull", "sample_events/push.json"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("pieria: there is no function pull") and said.count("\n") == 1


def test_a_reply_is_shown_for_people() -> None:
    msgpack = invoke.decoded(
        {
            "statusCode": 200,
            "headers": {"content-type": "application/x-msgpack"},
            "isBase64Encoded": True,
            "body": "gaFhxAFi",
        }
    )
    assert json.loads(invoke.readable(msgpack)) == {"a": "b"}
    text = invoke.decoded(
        {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "la la"}
    )
    assert invoke.readable(text) == "la la"
