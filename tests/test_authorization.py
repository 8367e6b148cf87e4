"""Who may do what: every cell of the table in `authorization.py`, through the Lambda handlers."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from infra.embedded_aws import EmbeddedAws
from shared import settings
from tests import authorization, client
from tests.authorization import CALLERS, RULES, Stage

STATES = {"public", "private", "deleted", "absent", "renamed"}


@pytest.fixture(scope="module")
def unlimited(aws: EmbeddedAws) -> Iterator[pytest.MonkeyPatch]:
    """No cell is refused for having asked too often."""
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("PUSH", "FETCH", "READ", "UPLOAD"):
            patch.setenv(f"PIERIA_LIMIT_{limit}", "1000000")
        settings.load.cache_clear()
        yield patch
    settings.load.cache_clear()


@pytest.fixture(scope="module")
def stage(unlimited: pytest.MonkeyPatch) -> Stage:
    return Stage(client.send, settings.load().signing_keys)


def test_every_route_is_in_the_table_and_nothing_else() -> None:
    assert sorted(authorization.routes()) == sorted(RULES)
    entries = {name for name in authorization.expectations() if " " in name}
    assert entries <= RULES.keys()


def test_every_caller_requests_every_route_with_every_target() -> None:
    for name, rule in RULES.items():
        assert rule.lines.keys() == (STATES if rule.names_a_repository else {"any"}), name
        for cells in rule.lines.values():
            assert list(cells) == CALLERS
            assert ("*" in cells.values()) <= bool(rule.code), name


@pytest.mark.parametrize("route", RULES)
def test_every_reply_is_that_of_the_table(stage: Stage, route: str) -> None:
    told = stage.play(route)
    assert len(told) == len(CALLERS) * len(RULES[route].lines)
    found = authorization.deviations(told)
    assert not found, "\n" + "\n".join(found)


def test_a_hidden_target_looks_the_same_on_every_route_and_in_every_repository(
    stage: Stage,
) -> None:
    """Private to a stranger, deleted, absent: one body, byte for byte, the hub over, and one for
    all pages.
    """
    told = [
        stage.tell(route, state, "stranger", rule.lines[state]["stranger"])
        for route, rule in RULES.items()
        if rule.names_a_repository
        for state in ("private", "deleted", "absent")
    ]
    assert {one.found for one in told} == {"404"}
    for is_page in (False, True):
        kind = [
            one
            for one in told
            if one.answer.headers["content-type"].startswith("text/html") is is_page
        ]
        assert len({authorization.shown(one.answer) for one in kind}) == 1


@pytest.mark.parametrize("route", [route for route in RULES if route.startswith("GET ")])
def test_HEAD_has_the_reply_of_GET_without_the_body_for_all_callers(
    stage: Stage, route: str
) -> None:
    for state, cells in RULES[route].lines.items():
        for caller, expected in cells.items():
            place = stage.place(route, state, expected)
            sent, token = (
                authorization.asked(route, stage.owner, place),
                stage.token(caller, place.slug),
            )
            get, head = (
                stage.call_with(method, route, stage.where(place), token, sent)
                for method in ("GET", "HEAD")
            )
            assert head.body == b""
            assert authorization.shown(head) == authorization.shown(replace(get, body=b"")), (
                state,
                caller,
            )


@pytest.mark.parametrize(
    "route", [route for route, rule in RULES.items() if rule.names_a_repository]
)
def test_a_wrong_method_and_a_preflight_reveal_nothing_about_the_target(
    stage: Stage, route: str
) -> None:
    path = route.split(" ")[1]
    for method in ("BREW", "OPTIONS"):
        answers = {
            authorization.shown(
                stage.call_with(
                    method, route, stage.where(stage.places[state]), token, authorization.Asked()
                )
            )
            for state in ("public", "private", "deleted")
            for token in (None, stage.token("owner", state), "no token")
        }
        assert len(answers) == 1, (method, path)


@pytest.mark.parametrize("caller", authorization.listed())
def test_a_list_has_exactly_the_readable_repositories(stage: Stage, caller: str) -> None:
    assert stage.listed_to(caller) == authorization.listed()[caller]


def test_without_push_to_create_an_absent_repository_is_as_a_deleted_one(
    stage: Stage, unlimited: pytest.MonkeyPatch
) -> None:
    with unlimited.context() as patch:
        patch.setenv("PIERIA_PUSH_TO_CREATE", "off")
        settings.load.cache_clear()
        told = [
            stage.tell(route, "absent", caller, expected)
            for route, rule in RULES.items()
            if rule.names_a_repository
            for caller, expected in rule.lines["deleted"].items()
            if caller in ("owner", "read-only", "here", "elsewhere")
        ]
    settings.load.cache_clear()
    found = authorization.deviations(told)
    assert not found, "\n" + "\n".join(found)
