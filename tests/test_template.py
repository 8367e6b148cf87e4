"""What template.yaml promises, held offline: no Docker, no AWS, no network."""

import functools
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from shared.settings import Settings

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "template.yaml"

IGNORED_RULES: dict[str, str] = {}
"""cfn-lint rules that we do not follow, each with its reason. None so far."""

READERS = {"refs", "negotiate", "fetch", "filter_objects", "health", "openapi", "objects", "raw", "commits"}
IDLE = {"health", "openapi"}
"""Functions that ask no store."""
DELETERS = {"branches", "members", "releases", "tags"}
"""Functions that may delete rows. A repository and a token are not: both are marked."""
READS = {"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "s3:GetObject", "s3:ListBucket"}

GRANTABLE = {
    "hub": {"Fn::GetAtt": ["HubTable", "Arn"]},
    "counters": {"Fn::GetAtt": ["CounterTable", "Arn"]},
    "repos/": {"Fn::Sub": "${Bucket.Arn}/repos/*"},
    "uploads/": {"Fn::Sub": "${Bucket.Arn}/uploads/*"},
    "bucket": {"Fn::GetAtt": ["Bucket", "Arn"]},
}
"""All that a function may be let at: one table, one prefix, or the bucket's list of keys."""

FREE_AT_REST = {
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Stage",
    "AWS::DynamoDB::Table",  # on demand, see test_nothing_is_paid_by_the_hour
    "AWS::IAM::Role",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",
}
"""Resource types that cost nothing, stored bytes apart, while nobody asks."""

LOGGABLE = {
    "$context.requestId",
    "$context.requestTimeEpoch",
    "$context.routeKey",
    "$context.status",
    "$context.responseLength",
    "$context.responseLatency",
    "$context.integrationLatency",
    "$context.integrationErrorMessage",
    "$context.identity.sourceIp",
}
"""Access-log variables that hold nothing a caller wrote: no path, query string, header or body."""


@functools.cache
def parsed() -> dict[str, Any]:
    """The template as written, intrinsics in their long form."""
    return dict(yaml_parse(TEMPLATE.read_text()))


@functools.cache
def expanded() -> dict[str, Any]:
    """The CloudFormation that SAM turns the template into."""
    source = yaml_parse(TEMPLATE.read_text())
    source["Globals"]["Function"]["CodeUri"] = "s3://placeholder/code"  # as `sam package` leaves it
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    return dict(translator.translate(source, parameter_values={}))


def of_type(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Properties of every resource of one type, by logical id."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def functions() -> dict[str, str]:
    """Logical id of each function, by the module it runs."""
    found = of_type(expanded(), "AWS::Lambda::Function")
    return {properties["Handler"].split(".")[1]: name for name, properties in found.items()}


def grants(module: str) -> set[tuple[str, str]]:
    """What one function may do: (action, place), the place one of GRANTABLE."""
    role = expanded()["Resources"][f"{functions()[module]}Role"]["Properties"]
    statements = [
        statement for policy in role.get("Policies", []) for statement in policy["PolicyDocument"]["Statement"]
    ]
    places = {json.dumps(arn): place for place, arn in GRANTABLE.items()}
    return {
        (action, places[json.dumps(arn)])  # KeyError: not one table, not one prefix
        for statement in statements
        for action in statement["Action"]
        for arn in (statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]])
    }


def routes(module: str) -> set[str]:
    """Route keys that lead to one function, by way of its integrations."""
    arn = {"Fn::GetAtt": [functions()[module], "Arn"]}
    targets = [
        {"Fn::Sub": f"integrations/${{{name}}}"}
        for name, properties in of_type(expanded(), "AWS::ApiGatewayV2::Integration").items()
        if properties["IntegrationUri"] == arn
    ]
    found = of_type(expanded(), "AWS::ApiGatewayV2::Route").values()
    return {properties["RouteKey"] for properties in found if properties["Target"] in targets}


each_function = pytest.mark.parametrize("module", sorted(functions()))


# ── Lint ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What cfn-lint says of the template and of its expansion: some defects show in only one of them."""
    expansion = tmp_path_factory.mktemp("template") / "expanded.json"
    expansion.write_text(json.dumps(expanded()))
    # A process of its own, since cfn-lint sets AWS variables; and one for both, since it is slow to load.
    ignored = ["--ignore-checks", *IGNORED_RULES] if IGNORED_RULES else []
    cfn_lint = [sys.executable, "-c", "from cfnlint.runner import main; main()", "--format", "json", *ignored]
    command = [*cfn_lint, "--", str(TEMPLATE), str(expansion)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout, run.stderr
    return [
        f"{Path(found['Filename']).name}: {found['Rule']['Id']} {found['Message']}" for found in json.loads(run.stdout)
    ]


def test_cfn_lint_has_nothing_to_say(findings: list[str]) -> None:
    assert findings == []


# ── Functions and routes ────────────────────────────────────────────────────────────────────────────────────


def test_every_module_in_functions_is_one_function_and_the_reverse() -> None:
    modules = {f"functions.{path.stem}.handler" for path in (ROOT / "functions").glob("*.py")}
    handlers = [properties["Handler"] for properties in of_type(expanded(), "AWS::Lambda::Function").values()]
    assert sorted(handlers) == sorted(modules - {"functions.__init__.handler"})


@each_function
def test_a_function_can_be_reached_and_may_be_called(module: str) -> None:
    assert routes(module)
    permissions = of_type(expanded(), "AWS::Lambda::Permission").values()
    mine = [found for found in permissions if found["FunctionName"] == {"Ref": functions()[module]}]
    assert [found["Principal"] for found in mine] == ["apigateway.amazonaws.com"]
    assert mine[0]["SourceArn"]["Fn::Sub"].endswith(":${Api}/*"), "this API and no other"


@each_function
def test_the_routes_of_the_template_are_those_of_the_router(module: str) -> None:
    router = importlib.import_module(f"functions.{module}").router
    assert isinstance(router, APIRouter)
    written = [route for route in router.routes if isinstance(route, APIRoute)]
    # `{tag:path}` is FastAPI's word for a parameter with slashes, `{tag+}` the gateway's.
    assert routes(module) == {
        f"{method} {route.path.replace(':path}', '+}')}" for route in written for method in route.methods or ()
    }


def test_route_keys_are_well_formed_and_lead_somewhere() -> None:
    keys = [route["RouteKey"] for route in of_type(expanded(), "AWS::ApiGatewayV2::Route").values()]
    for key in keys:
        assert re.fullmatch(r"(GET|POST|PUT|PATCH|DELETE) (/(\{[a-z_]+\}|[a-z0-9.-]+))+(/\{[a-z_]+\+\})?", key), key
    reached = [key for module in functions() for key in routes(module)]
    assert sorted(keys) == sorted(reached), "a route without a function, or two with one key"


def test_the_function_gives_up_before_the_gateway_does() -> None:
    for name, integration in of_type(expanded(), "AWS::ApiGatewayV2::Integration").items():
        assert integration["TimeoutInMillis"] <= 30_000, name
        assert integration["PayloadFormatVersion"] == "2.0", name
    for name, function in of_type(expanded(), "AWS::Lambda::Function").items():
        assert function["Timeout"] <= 29, name


def test_one_stage_deploys_itself_and_is_throttled() -> None:
    (stage,) = of_type(expanded(), "AWS::ApiGatewayV2::Stage").values()
    assert (stage["StageName"], stage["AutoDeploy"]) == ("$default", True)
    assert stage["DefaultRouteSettings"].keys() >= {"ThrottlingRateLimit", "ThrottlingBurstLimit"}


# ── Permissions ─────────────────────────────────────────────────────────────────────────────────────────────


@each_function
def test_a_policy_names_its_actions_and_one_table_or_prefix(module: str) -> None:
    for action, _ in grants(module):
        assert re.fullmatch(r"(dynamodb|s3):[A-Za-z]+", action), action


@each_function
def test_a_role_has_nothing_from_elsewhere_but_leave_to_log(module: str) -> None:
    role = expanded()["Resources"][f"{functions()[module]}Role"]["Properties"]
    assert [arn.rpartition("/")[2] for arn in role["ManagedPolicyArns"]] == ["AWSLambdaBasicExecutionRole"]


@each_function
def test_all_but_health_and_the_document_count_and_do_nothing_else_to_counters(module: str) -> None:
    counting = {action for action, place in grants(module) if place == "counters"}
    # A push remembers what it refused, with the same action; negotiate reads that.
    reading = {"dynamodb:GetItem"} if module == "negotiate" else set()
    assert counting == (set() if module in IDLE else {"dynamodb:UpdateItem"} | reading)


@pytest.mark.parametrize("module", sorted(READERS))
def test_a_reader_writes_nothing(module: str) -> None:
    assert {action for action, place in grants(module) if place != "counters"} <= READS


def test_presign_reaches_only_the_quarantine() -> None:
    s3 = {grant for grant in grants("presign") if grant[0].startswith("s3:")}
    assert s3 == {("s3:PutObject", "uploads/")}


@pytest.mark.parametrize("module", sorted(IDLE))
def test_what_touches_nothing_may_do_nothing(module: str) -> None:
    assert grants(module) == set()


@each_function
def test_only_presign_puts_into_the_quarantine_and_few_delete(module: str) -> None:
    assert ("s3:PutObject", "uploads/") not in grants(module) or module == "presign"
    deleting = {grant for grant in grants(module) if "Delete" in grant[0]}
    assert deleting == ({("dynamodb:DeleteItem", "hub")} if module in DELETERS else set())


# ── What lasts, and what it costs ───────────────────────────────────────────────────────────────────────────


def test_nothing_is_paid_by_the_hour() -> None:
    assert {resource["Type"] for resource in expanded()["Resources"].values()} <= FREE_AT_REST
    for table in of_type(expanded(), "AWS::DynamoDB::Table").values():
        assert table["BillingMode"] == "PAY_PER_REQUEST"
    for function in of_type(expanded(), "AWS::Lambda::Function").values():
        assert function.keys().isdisjoint({"SnapStart", "VpcConfig", "TracingConfig", "FileSystemConfigs"})


def test_the_hub_table_is_hard_to_lose() -> None:
    resource = expanded()["Resources"]["HubTable"]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")
    table = resource["Properties"]
    assert table["DeletionProtectionEnabled"] is True
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    keys = [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]]
    assert keys == [("pk", "HASH"), ("sk", "RANGE")]


def test_counters_expire_and_go_with_the_stack() -> None:
    resource = expanded()["Resources"]["CounterTable"]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Delete", "Delete")
    table = resource["Properties"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk"]


def test_the_bucket_is_private_versioned_and_hard_to_lose() -> None:
    resource = expanded()["Resources"]["Bucket"]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")
    bucket = resource["Properties"]
    blocks = bucket["PublicAccessBlockConfiguration"]
    assert len(blocks) == 4 and all(value is True for value in blocks.values())
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}


def test_nothing_lingers_in_the_bucket() -> None:
    rules = expanded()["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert {rule["Status"] for rule in rules} == {"Enabled"}
    (quarantine,) = [rule for rule in rules if rule.get("Prefix") == "uploads/"]
    assert quarantine["ExpirationInDays"] == 1
    assert quarantine["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert [rule for rule in rules if "ExpirationInDays" in rule] == [quarantine], "what was accepted never expires"
    (everywhere,) = [rule for rule in rules if "Prefix" not in rule]
    assert everywhere["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert everywhere["NoncurrentVersionExpiration"]["NoncurrentDays"] >= 7


def test_the_bucket_refuses_plain_http() -> None:
    (policy,) = of_type(expanded(), "AWS::S3::BucketPolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [{"Fn::GetAtt": ["Bucket", "Arn"]}, {"Fn::Sub": "${Bucket.Arn}/*"}]


# ── Logs and settings ───────────────────────────────────────────────────────────────────────────────────────


def test_every_log_ends_and_every_function_has_its_own() -> None:
    groups = of_type(expanded(), "AWS::Logs::LogGroup")
    for name, group in groups.items():
        assert group["RetentionInDays"] <= 90, name
    used = [
        function["LoggingConfig"]["LogGroup"]["Ref"]
        for function in of_type(expanded(), "AWS::Lambda::Function").values()
    ]
    assert sorted([*used, "AccessLog"]) == sorted(groups)


def test_the_access_log_holds_nothing_a_caller_wrote() -> None:
    (stage,) = of_type(expanded(), "AWS::ApiGatewayV2::Stage").values()
    line = stage["AccessLogSettings"]["Format"]
    assert "\n" not in line
    assert set(json.loads(line).values()) <= LOGGABLE


def environment() -> dict[str, Any]:
    """The environment shared by all functions; none has one of its own."""
    (variables, *others) = [
        function["Environment"]["Variables"] for function in of_type(expanded(), "AWS::Lambda::Function").values()
    ]
    assert all(other == variables for other in others)
    return dict(variables)


def test_every_variable_is_a_setting_and_every_required_setting_is_there() -> None:
    fields = {f"PIERIA_{name.upper()}": field for name, field in Settings.model_fields.items()}
    assert environment().keys() <= fields.keys()
    assert environment().keys() >= {name for name, field in fields.items() if field.is_required()}


def test_the_defaults_of_the_template_are_those_of_the_settings() -> None:
    parameters = parsed()["Parameters"]
    defaults = {
        name.removeprefix("PIERIA_").lower(): parameters[value["Ref"]]["Default"]
        for name, value in environment().items()
        if "Default" in parameters.get(value["Ref"], {})
    }
    keys = json.dumps({"k": "s" * 32})
    required = {"hub_table": "hub", "counter_table": "counters", "bucket": "bytes", "signing_keys": keys}
    assert defaults.keys() >= {"push_to_create", "log_level", "limit_push"}
    assert Settings.model_validate(required | defaults) == Settings.model_validate(required)


def test_secrets_are_neither_echoed_nor_given_a_default() -> None:
    secret = parsed()["Parameters"]["SigningKeys"]
    assert secret["NoEcho"] is True
    assert "Default" not in secret
    pattern = re.compile(secret["AllowedPattern"])
    assert pattern.fullmatch(json.dumps({"2026-01": "s" * 32, "2026-02": "t" * 48}))
    assert not pattern.fullmatch(json.dumps({"2026-01": "short"}))
    assert not pattern.fullmatch("{}")
