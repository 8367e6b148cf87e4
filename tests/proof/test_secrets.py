"""No token, key or content is in any log line, trace, or refusal. Each comparison takes constant
time.

Every story is played with each of its calls failing, at the level that logs most, with unique words
in every secret place. `tests/proof/leaks` watches the rest of the suite.
"""

import hmac
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from shared import auth, log, settings
from shared.errors import Unauthorized
from tests import builders, client
from tests.builders import blob
from tests.client import call
from tests.faults import Fault, fault, recorded
from tests.proof import leaks
from tests.proof.asgi_client import Hub, token
from tests.proof.memory import Cloud
from tests.proof.stories import SONG, STORIES, WIRE, prepare, push

CANARY = "canary-7f3a"
KEYS = {"old": f"{CANARY}-old-key-" + "x" * 32, "new": f"{CANARY}-new-key-" + "y" * 32}
OUR_WORDS = {
    "request_id", "method", "route", "status", "milliseconds", "microdollars", "event", "level", "timestamp",
    "exception",
}  # fmt: skip
"""All that a line of the log says."""


@pytest.fixture
def hub(aws: Any, configured: pytest.MonkeyPatch) -> Iterator[Hub]:
    configured.setenv("PIERIA_SIGNING_KEYS", json.dumps(KEYS))
    token.cache_clear()
    with Hub(Cloud(), log_level="DEBUG") as running:
        yield running
    token.cache_clear()


def assert_no_secret(text: str) -> None:
    assert CANARY not in text, text[max(0, text.find(CANARY) - 300) : text.find(CANARY) + 100]
    assert leaks.found_in(text) == []
    assert token("me").rpartition(".")[2] not in text


def test_whatever_fails_no_secret_is_written_down(
    hub: Hub, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    # The log lines of botocore at this level are its own: no function sets this level.
    for name in ("botocore", "aiobotocore", "boto3", "urllib3", "asyncio"):
        logging.getLogger(name).setLevel(logging.INFO)
    world = prepare(hub)
    told, refusals = 0, []
    for story in STORIES:
        hub.cloud.load(world)
        with recorded() as calls:
            story.tell(hub)
        for number in range(1, len(calls) + 1):
            for kind in (Fault.REFUSED, Fault.UNHEARD):
                hub.cloud.load(world)
                with fault(kind, number):
                    answer = story.tell(hub)
                told += 1
                if answer.status >= 400:
                    refusals.append(answer.body.decode())
    written = capsys.readouterr().err
    assert told > 400 and len(refusals) > 200
    for text in (written, caplog.text, *refusals):
        assert_no_secret(text)
    lines = [json.loads(line) for line in written.splitlines()]
    assert len(lines) > told
    assert set().union(*lines) <= OUR_WORDS
    assert any("exception" in line for line in lines)


def test_the_content_of_requests_is_not_logged(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same words as content, as a message, a path, a branch, a query and a header; and then the
    hub breaks.
    """
    content = blob(f"{CANARY} content".encode())
    snapshot = builders.snapshot({f"{CANARY}.txt": content["object_id"]})
    commit = builders.commit(
        f"{CANARY} message", [], snapshot["snapshot_id"], author=f"{CANARY} author"
    )
    bundle = {"commits": [commit], "snapshots": [snapshot], "objects": [content]}
    message, headers = push(bundle, f"{CANARY}-branch"), {"cookie": CANARY, "user-agent": CANARY}

    def tell() -> int:
        return hub.call(
            f"POST {WIRE}/push", SONG, message, by="me", query=f"x={CANARY}", headers=headers
        ).status  # fmt: skip

    with recorded() as calls:
        assert tell() == 200
    for number in range(1, len(calls) + 1):
        hub.cloud.load(({}, {}))
        with fault(Fault.REFUSED, number):
            tell()

    async def breaks(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(hub.cloud, "gate", breaks)
    assert tell() == 500
    written = capsys.readouterr().err
    assert "a bug" in written and "Unavailable" in written
    assert CANARY not in written


@pytest.mark.parametrize(
    "header", ["Bearer {}", "Bearer {}x", "bearer {} {}", "Basic {}", "Token {}"]
)
def test_a_refused_token_is_not_repeated(
    header: str, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt = token("me")[:-3]
    answer = hub.call(
        f"GET {WIRE}/refs", SONG, headers={"authorization": header.replace("{}", spoilt)}
    )
    assert answer.status in (401, 404)
    assert spoilt[-20:] not in answer.body.decode() + str(answer.headers) + capsys.readouterr().err


def test_settings_that_are_wrong_do_not_show_the_keys(
    configured: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for wrong in (
        f'{{"a": "{CANARY}"}}',
        f"{CANARY} no JSON",
        f'["{CANARY}"]',
        f'{{"a": ["{CANARY}"]}}',
    ):
        configured.setenv("PIERIA_SIGNING_KEYS", wrong)
        settings.load.cache_clear()
        with pytest.raises(ValueError) as failure:
            settings.load()
        assert CANARY not in str(failure.value) + repr(failure.value)


def test_a_signature_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    good = client.token("ada")
    compared: list[tuple[Any, Any]] = []
    honest = hmac.compare_digest

    def compare(a: Any, b: Any) -> bool:
        compared.append((a, b))
        return honest(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    keys = settings.load().signing_keys
    assert auth.identify(keys, good)
    (pair,) = compared
    assert pair[0] == pair[1]
    with pytest.raises(Unauthorized):
        auth.identify(keys, f"{good[:-4]}AAAA")
    assert len(compared) == 2, "refused without having been compared as a whole"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {'eyJ' + 'a' * 20}.{'b' * 20}.{'c' * 40}",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlLXNpZ25hdHVyZQ",
        "signing_keys={'new': '" + "n" * 32 + "'}",
        "http://127.0.0.1/b/uploads/r/o?X-Amz-Signature=" + "0" * 64,
    ],
)
def test_the_watch_knows_a_secret_when_it_sees_one(text: str) -> None:
    assert leaks.found_in(text)

    class Report:
        sections = [("Captured stderr call", text)]  # noqa: RUF012
        outcome, longrepr = "passed", ""

    report = Report()
    leaks.judge(report)
    assert report.outcome == "failed"


def test_replies_of_the_hub_do_not_count_as_leaks(
    capsys: pytest.CaptureFixture[str], owner: str
) -> None:
    log.at("INFO").log(logging.INFO, "request", request_id="r", status=200)
    assert call("refs", owner, "song", headers={"authorization": "Bearer x"}).status == 401
    assert leaks.found_in(capsys.readouterr().err) == []
