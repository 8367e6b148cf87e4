"""Least privilege, action by action: what each function's policy grants is what its code was seen to need.

`stories` uses every route in all its ways, `recorder` notes what that takes, and both are compared both ways.
"""

import json
import os
import time
import uuid

import boto3
import pytest
from fastapi.routing import APIRoute

from functions.endpoints import ENDPOINTS
from infra import generate, invoke, stack
from shared import auth, settings, signing
from shared.engines.s3 import S3Bucket
from shared.metadata import keys
from shared.model import Identity, Role
from tests import client, issuer
from tests.template import recorder
from tests.template.expansion import (
    CLIENT_SECRETS,
    PARAMETER,
    PLACES,
    STREAM,
    Grant,
    expanded,
    functions,
    grants,
    of_type,
    router,
)
from tests.template.recorder import Recorder, Use, matches
from tests.template.stories import STORIES

PRIVATE, PUBLIC = signing.new_pair()
PRIVATE_KEYS = {"only": PRIVATE}
SIGNING_KEYS = {"seal": signing.SEAL + "s" * 40, "only": PUBLIC}

IDLE = {row.module for row in ENDPOINTS if not row.grants}
"""Functions without a permission. They use no store."""
READERS = {
    row.module
    for row in ENDPOINTS
    if row.routes
    and {route.who for route in row.routes} <= {"readers", "readers with a token", "everyone"}
}
"""Functions without a route that changes a repository."""
JOBS = {row.module for row in ENDPOINTS if not row.routes}
"""Functions that a schedule invokes."""
DELETERS = {
    "repo_settings",
    "trusted_issuers",
    "branches",
    "domains",
    "members",
    "releases",
    "repos",
    "tags",
    "upkeep",
}
"""Functions that may delete rows. A repository and a token are marked instead; `repos` deletes how one is listed."""
CREATORS = {"presign", "push", "push_objects", "repo_settings", "repos", "staging"}
"""Functions that create repositories."""
WRITES = {
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "s3:PutObject",
}

each_function = pytest.mark.parametrize("module", sorted(functions()))


def token(subject: str) -> str:
    """A token that is signed with the key of the parameter."""
    identity = Identity(subject, Role.ADMIN, str(uuid.uuid4()))
    return auth.issue(PRIVATE_KEYS, identity, lifetime_seconds=3600, now=int(time.time()))


def listen() -> Recorder:
    """The calls and permissions of each function in all stories, in an environment like the
    template's.
    """
    parameter = PLACES[json.dumps({"Fn::Sub": PARAMETER})]
    ssm = boto3.client("ssm")
    client_secrets = PLACES[json.dumps({"Fn::Sub": CLIENT_SECRETS})]
    values = {
        parameter: SIGNING_KEYS,
        signing.private_parameter(parameter): PRIVATE_KEYS,
        client_secrets: {"openid": issuer.CLIENT_SECRET},
    }
    for name, value in values.items():
        ssm.put_parameter(Name=name, Value=json.dumps(value), Type="SecureString", Overwrite=True)
    ssm.close()
    watched = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PIERIA_SIGNING_KEYS")
        patch.setenv("PIERIA_SIGNING_KEYS_PARAMETER", parameter)
        patch.setenv("PIERIA_CLIENT_SECRETS_PARAMETER", client_secrets)
        for limit in ("PUSH", "FETCH", "READ", "UPLOAD"):
            patch.setenv(f"PIERIA_LIMIT_{limit}", "100000")
        for scope in ("SUBJECT", "OWNER", "HUB"):
            patch.setenv(f"PIERIA_LIMIT_COST_{scope}", "1000")
        patch.setattr(client, "token", token)
        patch.setattr(S3Bucket, "is_aws", property(lambda bucket: True))
        settings.load.cache_clear()
        with watched.watching():
            for number, story in enumerate(STORIES):
                story(f"storyteller{number}", watched.fresh)
            play_samples(watched, patch)
    settings.load.cache_clear()
    return watched


def is_success(answer: client.Answer) -> bool:
    """Whether a sample event was carried out."""
    return invoke.is_success(invoke.Answer(answer.status, answer.headers, answer.body))


def play_samples(watched: Recorder, patch: pytest.MonkeyPatch) -> None:
    """Send every sample event. One that fails, because another one has changed the repository, is sent again."""
    deletions_last = sorted(
        generate.events().items(), key=lambda item: item[1]["routeKey"].startswith("DELETE")
    )
    place = new_world(watched, patch)
    for name, _ in deletions_last:
        if name in issuer.NEEDS_PROVIDER:
            continue
        if not is_success(send_sample(name, place)):
            place = new_world(watched, patch)
            answer = send_sample(name, place)
            assert is_success(answer), (name, answer.body)


def new_world(watched: Recorder, patch: pytest.MonkeyPatch) -> dict[str, str]:
    """The repository of the sample events in new tables, and cold functions. Returns the placeholders' values."""
    names = {name: f"{name}-{uuid.uuid4()}" for name in ("HubTable", "CounterTable")}
    patch.setenv("PIERIA_HUB_TABLE", names["HubTable"])
    patch.setenv("PIERIA_COUNTER_TABLE", names["CounterTable"])
    patch.setitem(recorder.TABLES, names["HubTable"], "hub")
    patch.setitem(recorder.TABLES, names["CounterTable"], "counters")
    stack.create(os.environ["AWS_ENDPOINT_URL"], names)
    settings.load.cache_clear()
    for function in functions():
        watched.fresh(function)
    return invoke.seeded(PRIVATE_KEYS)


def send_sample(name: str, place: dict[str, str]) -> client.Answer:
    """The reply of a function to a sample event."""
    event = invoke.filled((invoke.EVENTS / f"{name}.json").read_text(), place)
    return client.invoke(invoke.function_of(name), event)


# ── Both ways ─────────────────────────────────────────────────────────────────────────────────────


def test_the_granted_permissions_are_the_used_ones() -> None:
    told = listen()
    assert told.routes == {
        (method, route.path)
        for module in functions()
        for route in router(module).routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }, "the stories use every route"
    for module, name in functions().items():
        uses = told.uses.get(module, set())
        # No story starts a container: see the test of wake-ups.
        allowed = {grant for grant in grants(name) if grant.action != "lambda:InvokeFunction"}
        refused = {use for use in uses if not any(grant.covers(use) for grant in allowed)}
        idle = {grant for grant in allowed if not any(grant.covers(use) for use in uses)}
        assert not refused, f"{module} needs what it is not granted"
        assert not idle, f"{module} is granted what it does not need"


@each_function
def test_a_function_may_invoke_those_that_it_wakes(module: str) -> None:
    [row] = [row for row in ENDPOINTS if row.module == module]
    invoked = {
        grant.place
        for grant in grants(functions()[module])
        if grant.action == "lambda:InvokeFunction"
    }
    assert invoked == {f"function {other}" for other in row.wakes}


def test_both_fetch_functions_have_the_same_permissions() -> None:
    assert grants(STREAM) == grants("FetchFunction")


def test_the_boundary_is_the_union_of_all_permissions_and_the_logs() -> None:
    [boundary] = of_type(expanded(), "AWS::IAM::ManagedPolicy").values()
    *statements, trace, logs = boundary["PolicyDocument"]["Statement"]
    condition, traces, absent = trace["Fn::If"]
    assert (condition, absent) == ("UseTracing", {"Ref": "AWS::NoValue"})
    assert traces["Action"] == ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    granted = {
        (g.action, g.place) for name in [*functions().values(), STREAM] for g in grants(name)
    }
    allowed = {
        (action, PLACES[json.dumps(place)])
        for statement in statements
        for action in statement["Action"]
        for place in (
            statement["Resource"]
            if isinstance(statement["Resource"], list)
            else [statement["Resource"]]
        )
    }
    beyond = [
        (action, place)
        for action, place in granted
        if not any(action == other and matches(prefix, place) for other, prefix in allowed)
    ]
    assert beyond == []
    assert {action for action, _ in allowed} == {action for action, _ in granted}
    assert logs["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert logs["Resource"]["Fn::Sub"].endswith(":log-group:${AWS::StackName}-*")
    assert all(
        statement["Effect"] == "Allow" and "Condition" not in statement
        for statement in [*statements, logs]
    )


@pytest.mark.parametrize("function", [*sorted(functions().values()), STREAM])
def test_a_role_has_nothing_from_elsewhere_but_leave_to_log_within_the_boundary(
    function: str,
) -> None:
    role = expanded()["Resources"][f"{function}Role"]["Properties"]
    assert [arn.rpartition("/")[2] for arn in role["ManagedPolicyArns"]] == [
        "AWSLambdaBasicExecutionRole",
        "AWSXrayWriteOnlyAccess",  # without Tracing, the boundary denies what it allows
    ]
    assert role["PermissionsBoundary"] == {"Ref": "Boundary"}
    log = expanded()["Resources"][function]["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]
    # CloudFormation names it after the stack, which the boundary counts on.
    assert "LogGroupName" not in expanded()["Resources"][log]["Properties"]


# ── The basis of the comparison ───────────────────────────────────────────────────────────────────

REPO_ID = "0c5a7f8e-0000-4000-8000-00000000000f"
ANY_REPO = "REPO#????????-????-????-????-????????????"


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*", ["", "a#b"], []),
        (
            "OWNER#*",
            [keys.repo("me", "song")[0]],
            [keys.member("me", "song", "bob")[0], keys.token("me", "1")[0]],
        ),
        ("TOKENS#*", [keys.token("me", "1")[0], keys.tokens("me")], ["TOKEN#me", keys.owner("me")]),
        (
            ANY_REPO,
            [keys.refs(REPO_ID), keys.name(REPO_ID)[0]],
            [
                keys.tags(REPO_ID),
                keys.moves(REPO_ID),
                keys.upkeep(REPO_ID),
                keys.lane(REPO_ID, "main"),
                "REPO#",
            ],
        ),
        (
            f"{ANY_REPO}#TAGS",
            [keys.tags(REPO_ID)],
            [keys.lane(REPO_ID, "x#TAGS"), keys.releases(REPO_ID)],
        ),
        (f"{ANY_REPO}#C?", [f"REPO#{REPO_ID}#C0"], [keys.upkeep(REPO_ID), f"REPO#{REPO_ID}#O0"]),
        ("a.c", ["a.c"], ["abc", "a.cd"]),
    ],
)
def test_a_pattern_is_read_as_iam_reads_it(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [text for text in yes if not matches(pattern, text)] == []
    assert [text for text in no if matches(pattern, text)] == []


def test_a_grant_covers_no_other_action_place_or_partition() -> None:
    grant = Grant("dynamodb:PutItem", "hub", "HANDLE#*")
    assert grant.covers(Use("dynamodb:PutItem", "hub", "HANDLE#me"))
    assert not grant.covers(Use("dynamodb:UpdateItem", "hub", "HANDLE#me"))
    assert not grant.covers(Use("dynamodb:PutItem", "counters", "HANDLE#me"))
    assert not grant.covers(Use("dynamodb:PutItem", "hub", "OWNER#me"))
    assert not Grant("s3:PutObject", "uploads/*").covers(Use("s3:PutObject", "repos/uploads/x"))


# ── Who may what ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("module", sorted(READERS))
def test_a_reader_writes_nothing_but_its_count(module: str) -> None:
    written = {
        (grant.action, grant.place)
        for grant in grants(functions()[module])
        if grant.action in WRITES
    }
    assert written == (set() if module in IDLE else {("dynamodb:UpdateItem", "counters")})


@pytest.mark.parametrize("module", sorted(IDLE))
def test_a_function_without_calls_has_no_permissions(module: str) -> None:
    assert grants(functions()[module]) == set()


def test_every_write_to_the_hub_says_to_which_partitions() -> None:
    for module, name in functions().items():
        loose = [
            g
            for g in grants(name)
            if g.action in WRITES and g.place == "hub" and g.partitions.startswith("*")
        ]
        assert loose == [], module


@pytest.mark.parametrize(
    ("partition", "writers"),
    [
        (keys.token("me", "1")[0], {"account", "exchange", "tokens"}),
        (keys.trusted_issuers(REPO_ID), {"repo_settings", "trusted_issuers", "upkeep"}),
        (keys.identity("0" * 64)[0], {"account"}),
        (keys.member("me", "song", "bob")[0], {"members", "repo_settings", "repos", "upkeep"}),
        (keys.releases(REPO_ID), {"releases", "upkeep"}),
        (keys.tags(REPO_ID), {"tags", "upkeep"}),
        (keys.lane(REPO_ID, "main"), {"push", "upkeep"}),
        (keys.refs(REPO_ID), {"branches", "upkeep", *CREATORS}),
        (keys.upkeep(REPO_ID), {"upkeep"}),
        (keys.DELETED, {"repo_settings", "repos", "upkeep"}),
        (keys.DUE, {"branches", "releases", "tags", "upkeep", *CREATORS}),
    ],
)
def test_few_may_write_to_a_partition(partition: str, writers: set[str]) -> None:
    found = {
        module
        for module, name in functions().items()
        for grant in grants(name)
        if grant.action in WRITES and grant.place == "hub" and matches(grant.partitions, partition)
    }
    assert found == writers


@each_function
def test_few_functions_delete_and_only_their_own_rows(module: str) -> None:
    deleting = {grant for grant in grants(functions()[module]) if "Delete" in grant.action}
    rows = {grant for grant in deleting if grant.place == "hub"}
    assert {grant.action for grant in rows} == (
        {"dynamodb:DeleteItem"} if module in DELETERS else set()
    )
    for grant in rows:
        known = (ANY_REPO, "MEMBERS#", "LISTED#", "RECENT", "DELETED", "DOMAINS", "DUE")
        assert grant.partitions.startswith(known), "no repository's name, no token"
    bytes_of = {(grant.action, grant.place) for grant in deleting - rows}
    assert bytes_of == (
        {
            (f"s3:DeleteObject{what}", place)
            for what in ("", "Version")
            for place in ("repos/*", "uploads/*")
        }
        if module in JOBS
        else set()
    )


STAGED = "uploads/*/staged/*"
PUTS = {
    "presign": {"uploads/*"},
    "staging": {STAGED},
    "push": {"repos/*"},
    "push_objects": {"repos/*"},
    "upkeep": {"repos/*"},
}
"""The prefixes that a function may write, by its module. The others write none."""


def test_presign_and_staging_write_only_the_quarantine_and_no_other_function_writes_there() -> None:
    for module, name in functions().items():
        puts = {grant.place for grant in grants(name) if grant.action == "s3:PutObject"}
        assert puts == PUTS.get(module, set())
    for function in ("PresignFunction", "StagingFunction"):
        assert {grant.action for grant in grants(function) if grant.action.startswith("s3:")} == {
            "s3:PutObject"
        }


def test_push_objects_reads_staged_bodies_and_no_other_bytes() -> None:
    gets = {
        grant.place
        for grant in grants("PushObjectsFunction")
        if grant.action.startswith("s3:GetObject")
    }
    assert gets == {STAGED}


def test_tokens_reads_and_writes_nothing_else_of_the_hub() -> None:
    assert {g.partitions for g in grants("TokensFunction") if g.place == "hub"} == {
        "TOKENS#*",
        "HANDLE#*",
    }


def test_the_recorder_knows_no_operation_by_chance() -> None:
    with pytest.raises(NotImplementedError, match="Scan is called by nobody"):
        recorder.Recorder()._note("Scan", {})
