"""`LargeBodies: web-function`, resource by resource. It has not run on AWS, see docs/deploy.md."""

import functools
import json
from pathlib import Path

import pytest

from shared import middleware
from tests.template.expansion import Properties, deployed, of_type, parsed
from tests.template.recorder import matches
from tests.template.test_distribution import NASTY, all_routes

BODIES = {
    "LargeBodiesFunction",
    "LargeBodiesRevision",
    "LargeBodiesEndpoint",
    "LargeBodiesRole",
    "LargeBodiesLog",
}
NAME = {"Fn::Sub": "${AWS::StackName}-${AWS::Region}"}
PROGRAM = Path(__file__).parent.parent.parent / "infra" / "web_function" / "index.js"


def resource(name: str) -> Properties:
    return dict(deployed("bodies")["Resources"][name]["Properties"])


def distribution(variant: str = "bodies") -> Properties:
    return dict(deployed(variant)["Resources"]["Distribution"]["Properties"]["DistributionConfig"])


@functools.cache
def usual_config() -> Properties:
    """The configuration of the distribution. The deployment is large, so it is read once."""
    return distribution()


def origin_of(path: str) -> str:
    """The origin of the first behaviour whose pattern fits."""
    config = usual_config()
    found = next(
        (one for one in config["CacheBehaviors"] if matches(one["PathPattern"], path)), None
    )
    return str((found or config["DefaultCacheBehavior"])["TargetOriginId"])


def test_without_it_there_is_none_of_it() -> None:
    with_bodies, without = deployed("bodies"), deployed("edge")
    assert with_bodies["Resources"].keys() - without["Resources"].keys() == BODIES
    assert not without["Resources"].keys() - with_bodies["Resources"].keys()
    assert "LargeBodies" not in json.dumps(without["Resources"])


@pytest.mark.parametrize(
    ("parameters", "is_accepted"),
    [
        ({"LargeBodies": "none", "Edge": "none", "LargeBodiesProgram": ""}, True),
        (
            {
                "LargeBodies": "web-function",
                "Edge": "cloudfront",
                "LargeBodiesProgram": "programs/x.zip",
            },
            True,
        ),
        (
            {"LargeBodies": "web-function", "Edge": "none", "LargeBodiesProgram": "programs/x.zip"},
            False,
        ),
        ({"LargeBodies": "web-function", "Edge": "cloudfront", "LargeBodiesProgram": ""}, False),
    ],
)
def test_a_deployment_without_its_needs_is_refused_before_anything_is_made(
    parameters: dict[str, str], is_accepted: bool
) -> None:
    rule = parsed()["Rules"]["LargeBodiesHaveEdgeAndProgram"]

    def holds(condition: Properties) -> bool:
        [(kind, parts)] = condition.items()
        if kind == "Fn::Not":
            return not holds(parts[0])
        assert kind == "Fn::Equals"
        return bool(parameters[parts[0]["Ref"]] == parts[1])

    fits = all(holds(assertion["Assert"]) for assertion in rule["Assertions"])
    assert (fits or not holds(rule["RuleCondition"])) is is_accepted


def test_pushes_go_to_the_web_function_and_nothing_else_does() -> None:
    lost = [
        f"{method} {path} → {origin_of(path)}"
        for module, method, path in all_routes()
        if (origin_of(path) == "bodies") != (module in ("push", "push_objects"))
    ]
    assert lost == []
    assert "push" in NASTY, "names that resemble the end of a push's path were tried"


def test_a_push_passes_as_it_was_sent() -> None:
    usual = {
        key: value
        for key, value in distribution()["DefaultCacheBehavior"].items()
        if key != "TargetOriginId"
    }
    pushes = [one for one in distribution()["CacheBehaviors"] if one["TargetOriginId"] == "bodies"]
    assert {one["PathPattern"] for one in pushes} == {"/*/*/push", "/*/*/push/objects"}
    for one in pushes:
        assert {
            key: value for key, value in one.items() if key not in ("PathPattern", "TargetOriginId")
        } == usual


def test_the_origin_is_the_endpoint_and_gets_the_secret_of_the_distribution() -> None:
    [origin] = [one for one in distribution()["Origins"] if one["Id"] == "bodies"]
    assert origin["DomainName"] == {"Fn::GetAtt": ["LargeBodiesEndpoint", "DomainName"]}
    assert origin["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"
    [header] = origin["OriginCustomHeaders"]
    assert header == {
        "HeaderName": middleware.ORIGIN.decode(),
        "HeaderValue": {"Ref": "OriginSecret"},
    }
    assert 30 < origin["CustomOriginConfig"]["OriginReadTimeout"] <= 60
    program = PROGRAM.read_text()
    assert all(
        f"'{name.decode()}'" in program for name in (middleware.ORIGIN, middleware.VIEWER)
    ), "it passes them on"


def test_the_revision_runs_the_program_and_knows_the_address_of_the_hub_only() -> None:
    revision, endpoint = resource("LargeBodiesRevision"), resource("LargeBodiesEndpoint")
    assert (
        resource("LargeBodiesFunction")["FunctionName"]
        == revision["FunctionName"]
        == endpoint["FunctionName"]
    )
    assert revision["FunctionName"] == NAME, "the name is unique in all Regions of an account"
    assert revision["BuildConfig"] == {
        "CodeConfig": {
            "S3Object": {"Bucket": {"Ref": "Bucket"}, "Key": {"Ref": "LargeBodiesProgram"}}
        },
        "RuntimeConfig": {"Runtime": "nodejs24.x"},
    }
    assert PROGRAM.name == "index.js", "the runtime starts no other file"
    service = revision["ServiceConfig"]
    assert service["EnvironmentVariables"] == {
        "HUB_URL": {"Fn::Sub": "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}"}
    }
    assert service["TimeoutSeconds"] == 600
    assert endpoint["AuthType"] == "ApplicationManaged", (
        "a signature would replace the token of the caller"
    )
    assert endpoint["RevisionWeights"] == [
        {"RevisionId": {"Fn::GetAtt": ["LargeBodiesRevision", "RevisionId"]}, "Weight": 100}
    ]
    assert endpoint["ScalingConfig"]["MaxEnvironments"] == 10


def test_the_program_may_log_and_nothing_else() -> None:
    role = resource("LargeBodiesRole")
    assert role["PermissionsBoundary"] == {"Ref": "Boundary"} and "ManagedPolicyArns" not in role
    [policy] = role["Policies"]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert statement["Resource"] == {"Fn::GetAtt": ["LargeBodiesLog", "Arn"]}
    assert "LogGroupName" not in resource("LargeBodiesLog"), (
        "named after the stack, which the boundary counts on"
    )


def test_lambda_may_read_the_program_for_this_function_and_nothing_else_in_the_bucket() -> None:
    [policy] = of_type(deployed("bodies"), "AWS::S3::BucketPolicy").values()
    [statement] = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Allow"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Action"] == ["s3:GetObject", "s3:GetObjectVersion"]
    assert statement["Resource"] == {"Fn::Sub": "${Bucket.Arn}/${LargeBodiesProgram}"}
    [[operator, condition]] = statement["Condition"].items()
    assert operator == "ArnLike"
    name = NAME["Fn::Sub"]
    arn = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}"
    assert condition == {"aws:SourceArn": {"Fn::Sub": f"{arn}:web-function/{name}/revision/*"}}
    pattern = parsed()["Parameters"]["LargeBodiesProgram"]["AllowedPattern"]
    assert pattern.startswith("^(programs/") and "/" not in pattern.removeprefix("^(programs/")
    assert deployed("bodies")["Resources"]["LargeBodiesRevision"]["DependsOn"] == [
        "LargeBodiesFunction",
        "BucketPolicy",
    ]
