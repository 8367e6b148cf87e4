"""Functions, their routes, their environment and their logs."""

import base64
import json
import re
from typing import Any

import pytest
from fastapi.routing import APIRoute

from functions.endpoints import ENDPOINTS, JOBS
from infra import artefact, build
from infra.cli import key
from shared.settings import Settings
from tests.template.expansion import (
    ROOT,
    STREAM,
    VARIANTS,
    Properties,
    deployed,
    expanded,
    functions,
    of_type,
    parsed,
    router,
)

PAYLOAD_BYTES = 6_291_556
"""The most that Lambda passes in one piece, either way: the whole event, or the whole reply, as
JSON.
"""
ENVELOPE_BYTES = 32 * 1024
"""What an event has beside its body: up to 10 KiB of headers, some of them twice, and API Gateway's
context.
"""

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

each_function = pytest.mark.parametrize("module", sorted(functions()))


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


# ── Functions and routes ──────────────────────────────────────────────────────────────────────────


def test_every_module_in_functions_is_one_function_and_the_reverse() -> None:
    modules = {path.stem for path in (ROOT / "functions").glob("*.py")}
    assert functions().keys() == modules - build.NO_HANDLERS == {row.module for row in ENDPOINTS}
    for module, name in functions().items():
        assert (
            expanded()["Resources"][name]["Properties"]["Handler"] == f"functions.{module}.handler"
        )


@pytest.mark.parametrize("module", [row.module for row in ENDPOINTS if row.routes])
def test_a_function_can_be_reached_and_may_be_called(module: str) -> None:
    assert routes(module)
    permissions = of_type(expanded(), "AWS::Lambda::Permission").values()
    mine = [found for found in permissions if found["FunctionName"] == {"Ref": functions()[module]}]
    assert [found["Principal"] for found in mine] == ["apigateway.amazonaws.com"]
    assert mine[0]["SourceArn"]["Fn::Sub"].endswith(":${Api}/*"), "this API and no other"


@each_function
def test_the_routes_of_the_template_are_those_of_the_router(module: str) -> None:
    written = [route for route in router(module).routes if isinstance(route, APIRoute)]
    # `{tag:path}` is FastAPI's word for a parameter with slashes, `{tag+}` the gateway's.
    keys = {
        f"{method} {route.path.replace(':path}', '+}')}"
        for route in written
        for method in route.methods or ()
    }
    # The app answers HEAD on each route with GET. The gateway needs both.
    keys |= {key.replace("GET ", "HEAD ") for key in keys if key.startswith("GET ")}
    assert routes(module) == keys | ({"$default"} if module == "health" else set())


def test_a_request_without_a_route_reaches_a_function_without_permissions() -> None:
    """Else the gateway answers in its own words, without `Allow`, and no preflight at all."""
    assert [module for module in functions() if "$default" in routes(module)] == ["health"]
    assert "Policies" not in parsed()["Resources"][functions()["health"]]["Properties"]
    assert "CorsConfiguration" not in of_type(expanded(), "AWS::ApiGatewayV2::Api")["Api"], (
        "it would replace ours"
    )


def test_route_keys_are_well_formed_and_lead_somewhere() -> None:
    keys = [route["RouteKey"] for route in of_type(expanded(), "AWS::ApiGatewayV2::Route").values()]
    for route_key in keys:
        well_formed = (
            r"(GET|HEAD|POST|PUT|PATCH|DELETE)"
            r" (/|(/(\{[a-z_]+\}|[a-z0-9.-]+))+(/\{[a-z_]+\+\})?)|\$default"
        )
        assert re.fullmatch(well_formed, route_key), route_key
    reached = [route_key for module in functions() for route_key in routes(module)]
    assert sorted(keys) == sorted(reached), "a route without a function, or two with one key"


def test_the_function_gives_up_before_the_gateway_does() -> None:
    for name, integration in of_type(expanded(), "AWS::ApiGatewayV2::Integration").items():
        assert integration["TimeoutInMillis"] <= 30_000, name
        assert integration["PayloadFormatVersion"] == "2.0", name
    for name, function in of_type(expanded(), "AWS::Lambda::Function").items():
        is_job = function["Handler"].split(".")[1] in {row.module for row in JOBS}
        longest = 900 if is_job else 300 if name == STREAM else 29
        assert function["Timeout"] <= longest, name


def test_one_stage_deploys_itself_and_is_throttled() -> None:
    (stage,) = of_type(expanded(), "AWS::ApiGatewayV2::Stage").values()
    assert (stage["StageName"], stage["AutoDeploy"]) == ("$default", True)
    assert stage["DefaultRouteSettings"].keys() >= {"ThrottlingRateLimit", "ThrottlingBurstLimit"}


def test_sam_builds_all_functions_by_make() -> None:
    """SAM's own builder for Python would leave out the compiled modules."""
    makefile = ROOT / "infra" / "sam" / "Makefile"
    assert "\nbuild-%:" in makefile.read_text()
    assert "CodeUri" not in parsed()["Globals"]["Function"]
    for name, resource in parsed()["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            assert resource["Properties"]["CodeUri"] == "infra/sam", name
            assert resource["Metadata"] == {"BuildMethod": "makefile"}, name


def test_sam_gets_the_package_that_has_the_module_of_the_function() -> None:
    for endpoint in ENDPOINTS:
        # The smallest package with the module.
        packages = {
            build.IDENTITY: build.WITH_IDENTITY,
            build.PAGES: build.WITH_PAGES,
            build.PACKAGE: build.API_ONLY,
        }
        module = f"functions/{endpoint.module}.py"
        *_, package = (
            name for name, contents in packages.items() if module not in contents.left_out
        )
        assert artefact.package_of(endpoint.logical_id) == package, endpoint.module
        assert endpoint.logical_id in parsed()["Resources"]
    assert artefact.package_of(STREAM) == build.PACKAGE


def test_all_functions_run_the_same_python_on_the_same_processor() -> None:
    for function in of_type(expanded(), "AWS::Lambda::Function").values():
        assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])


# ── A name of one's own ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_domain_leads_to_the_api_unless_something_stands_in_front(variant: str) -> None:
    template = deployed(variant)
    names, mappings = (
        of_type(template, f"AWS::ApiGatewayV2::{kind}").values()
        for kind in ("DomainName", "ApiMapping")
    )
    assert len(names) == len(mappings) == (variant == "domain")
    for name in names:
        assert name["DomainName"] == {"Ref": "DomainName"}
        [configuration] = name["DomainNameConfigurations"]
        assert configuration["CertificateArn"] == {"Ref": "CertificateArn"}
        assert (configuration["EndpointType"], configuration["SecurityPolicy"]) == (
            "REGIONAL",
            "TLS_1_2",
        )
    for mapping in mappings:
        assert mapping == {
            "ApiId": {"Ref": "Api"},
            "DomainName": {"Ref": "ApiDomain"},
            "Stage": {"Ref": "Stage"},
        }


@pytest.mark.parametrize(
    ("variant", "url", "target"),
    [
        ("plain", "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}", None),
        ("domain", "https://${DomainName}", ["ApiDomain", "RegionalDomainName"]),
        ("edge", "https://${Distribution.DomainName}", None),
        ("full", "https://${DomainName}", ["Distribution", "DomainName"]),
    ],
)
def test_the_outputs_say_where_the_hub_is(variant: str, url: str, target: list[str] | None) -> None:
    outputs = deployed(variant)["Outputs"]
    assert outputs["Url"]["Value"] == {"Fn::Sub": url}
    assert outputs.get("DnsTarget", {}).get("Value") == ({"Fn::GetAtt": target} if target else None)
    assert outputs["HubTable"]["Value"] == {"Ref": "HubTable"} and outputs["Bucket"]["Value"] == {
        "Ref": "Bucket"
    }


def test_the_functions_that_refs_wakes_are_named_in_its_environment() -> None:
    names = environment(functions()["refs"])["PIERIA_WAKE"]["Fn::Sub"]
    found = re.findall(r"\$\{(\w+)\}", names)
    assert found == [functions()[module] for row in ENDPOINTS for module in row.wakes]


# ── Settings ──────────────────────────────────────────────────────────────────────────────────────


def environment(name: str, variant: str = "plain") -> Properties:
    """The environment of a function, by its logical id."""
    return dict(deployed(variant)["Resources"][name]["Properties"]["Environment"]["Variables"])


def pieria(variables: Properties) -> Properties:
    """The value of a setting of the hub."""
    return {name: value for name, value in variables.items() if name.startswith("PIERIA_")}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variable_is_a_setting_and_every_required_setting_is_there(variant: str) -> None:
    fields = {f"PIERIA_{name.upper()}": field for name, field in Settings.model_fields.items()}
    shared = environment(functions()["push"], variant)
    for row in ENDPOINTS:
        own = environment(functions()[row.module], variant)
        assert ("PIERIA_WAKE" in own) is bool(row.wakes)
        own.pop("PIERIA_WAKE", None)
        assert own.keys() == shared.keys()
        assert {name for name in own if own[name] != shared[name]} <= row.variables.keys()
    assert shared.keys() <= fields.keys()
    assert shared.keys() >= {name for name, field in fields.items() if field.is_required()}
    if STREAM in deployed(variant)["Resources"]:
        streaming = pieria(environment(STREAM, variant))
        assert streaming.keys() == shared.keys()
        assert {name for name in shared if streaming[name] != shared[name]} == {
            "PIERIA_MAX_REPLY_BYTES"
        }


def settings(**values: Any) -> Settings:
    """Settings of what every deployment has to say, and of these."""
    required = {
        "hub_table": "hub",
        "counter_table": "counters",
        "bucket": "bytes",
        "signing_keys_parameter": "/keys",
    }
    return Settings.model_validate(required | values)


def test_the_defaults_of_the_template_are_those_of_the_settings() -> None:
    parameters = parsed()["Parameters"]
    defaults = {
        name.removeprefix("PIERIA_").lower(): parameters[value["Ref"]]["Default"]
        for name, value in environment(functions()["push"]).items()
        if isinstance(value, dict) and value["Ref"] in parameters
    }
    assert defaults.pop("signing_keys_parameter") == key.USUAL
    assert defaults.pop("client_secrets_parameter") == "/pieria/client-secrets"
    assert defaults.keys() >= {"push_to_create", "log_level", "limit_push"}
    assert settings(**defaults) == settings()


def test_functions_that_send_whole_replies_get_the_limit_of_lambda() -> None:
    for name in functions().values():
        variables = environment(name)
        for limit in ("PIERIA_MAX_BODY_BYTES", "PIERIA_MAX_REPLY_BYTES"):
            size = len(base64.b64encode(bytes(int(variables[limit])))) + ENVELOPE_BYTES
            assert size <= PAYLOAD_BYTES, "Lambda would refuse what the hub has taken"
            assert size > PAYLOAD_BYTES - 2 * ENVELOPE_BYTES, (
                "the hub would refuse what Lambda takes"
            )


def test_no_secret_is_in_the_template_or_in_the_environment_of_a_plain_hub() -> None:
    assert environment(functions()["refs"])["PIERIA_SIGNING_KEYS_PARAMETER"] == {
        "Ref": "SigningKeysParameter"
    }
    assert environment(functions()["refs"])["PIERIA_ORIGIN_SECRET"] == ""
    secret = parsed()["Parameters"]["OriginSecret"]
    assert "NoEcho" not in secret and secret["Default"] == ""


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        (
            "SigningKeysParameter",
            ["/pieria/signing-keys", "/k"],
            ["", "keys", "/keys/", "/a b", "//k"],
        ),
        ("OriginSecret", ["", "s" * 32, "a1_-" * 16], ["s" * 31, "s" * 31 + "!", "s" * 31 + "\n"]),
        (
            "CertificateArn",
            ["", "arn:aws:acm:us-east-1:1:certificate/x"],
            ["certificate", "arn:aws:iam::1:x"],
        ),
        ("AlarmEmail", ["", "ops@hub.example"], ["ops", "@hub.example", "ops@"]),
    ],
)
def test_a_parameter_accepts_only_valid_values(
    parameter: str, good: list[str], bad: list[str]
) -> None:
    pattern = parsed()["Parameters"][parameter]["AllowedPattern"]
    assert [value for value in good if not re.fullmatch(pattern, value)] == []
    assert [value for value in bad if re.fullmatch(pattern, value)] == []
    if parameter == "OriginSecret":
        assert settings(origin_secret=good[1]).origin_secret and settings(origin_secret=good[0])


def test_a_deployment_that_cannot_work_is_refused_before_it_begins() -> None:
    rules = parsed()["Rules"]
    assert rules["EdgeHasItsSecret"]["RuleCondition"] == parsed()["Conditions"]["UseEdge"]
    assert rules["DomainHasItsCertificate"]["RuleCondition"] == parsed()["Conditions"]["UseDomain"]
    for rule, parameter in {
        "EdgeHasItsSecret": "OriginSecret",
        "DomainHasItsCertificate": "CertificateArn",
    }.items():
        [assertion] = rules[rule]["Assertions"]
        assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}


# ── Logs ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_log_ends_and_every_function_has_its_own(variant: str) -> None:
    groups = of_type(deployed(variant), "AWS::Logs::LogGroup")
    for name, group in groups.items():
        assert group["RetentionInDays"] <= 90, name
    used = [
        function["LoggingConfig"]["LogGroup"]["Ref"]
        for function in of_type(deployed(variant), "AWS::Lambda::Function").values()
    ]
    web = of_type(deployed(variant), "AWS::Lambda::WebFunctionRevision").values()
    used += [
        found["ServiceConfig"]["TelemetryConfig"]["LoggingConfig"]["LogGroup"]["Ref"]
        for found in web
    ]
    assert sorted([*used, "AccessLog"]) == sorted(groups)


def test_the_access_log_holds_nothing_a_caller_wrote() -> None:
    (stage,) = of_type(expanded(), "AWS::ApiGatewayV2::Stage").values()
    line = stage["AccessLogSettings"]["Format"]
    assert "\n" not in line
    assert set(json.loads(line).values()) <= LOGGABLE


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_taggable_resource_has_a_tag(variant: str) -> None:
    kinds = {
        "AWS::ApiGatewayV2::Api", "AWS::ApiGatewayV2::DomainName", "AWS::ApiGatewayV2::Stage",
        "AWS::CloudFront::Distribution", "AWS::CloudWatch::Alarm", "AWS::DynamoDB::Table", "AWS::IAM::Role",
        "AWS::Lambda::Function", "AWS::Lambda::WebFunction", "AWS::Logs::LogGroup", "AWS::S3::Bucket",
        "AWS::SNS::Topic",
    }  # fmt: skip
    for kind in kinds:
        for name, properties in of_type(deployed(variant), kind).items():
            tags = properties["Tags"]
            found = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
            assert found.get("service") == "pieria", name
