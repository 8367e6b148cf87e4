"""The template as CloudFormation: as SAM turns it into, and as it is deployed with certain
parameters.
"""

import functools
import importlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from fastapi import APIRouter
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from functions.endpoints import ENDPOINTS
from tests.template.recorder import Use, matches

ROOT = Path(__file__).parent.parent.parent
TEMPLATE = ROOT / "template.yaml"

Properties = dict[str, Any]

EDGE = {"Edge": "cloudfront", "OriginSecret": "s" * 32}
BODIES = {"LargeBodies": "web-function", "LargeBodiesProgram": "programs/web-function.zip"}
FULL = (
    EDGE
    | BODIES
    | {
        "DomainName": "hub.example",
        "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/one",
        "AlarmEmail": "ops@hub.example",
        "Metrics": "on",
        "Dashboard": "on",
        "Tracing": "on",
    }
)
DOMAIN_ONLY = {name: FULL[name] for name in ("DomainName", "CertificateArn")}
VARIANTS: dict[str, dict[str, str]] = {
    "plain": {},
    "domain": DOMAIN_ONLY,
    "alarms": {"AlarmEmail": FULL["AlarmEmail"]},
    "edge": EDGE,
    "bodies": EDGE | BODIES,
    "full": FULL,
}
"""Parameters of the deployments that differ."""


@functools.cache
def parsed() -> Properties:
    """The template as written, intrinsics in their long form."""
    return dict(yaml_parse(TEMPLATE.read_text()))


@functools.cache
def expanded() -> Properties:
    """The CloudFormation that SAM turns the template into, with its conditions."""
    source = yaml_parse(TEMPLATE.read_text())
    for found in source["Resources"].values():
        if found["Type"] == "AWS::Serverless::Function":
            found["Properties"]["CodeUri"] = "s3://placeholder/code"  # as `sam package` leaves it
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    return dict(translator.translate(source, parameter_values={}))


@functools.cache
def _deployed(variant: str) -> str:
    parameters = {
        name: found.get("Default") for name, found in parsed()["Parameters"].items()
    } | VARIANTS[variant]
    template = expanded()

    def holds(condition: Any) -> bool:
        if isinstance(condition, str):
            return holds(template["Conditions"][condition])
        [(kind, parts)] = condition.items()
        if kind == "Condition":
            return holds(parts)
        if kind == "Fn::Not":
            return not holds(parts[0])
        if kind == "Fn::And":
            return all(map(holds, parts))
        assert kind == "Fn::Equals", kind
        first, second = (
            parameters[part["Ref"]] if isinstance(part, dict) else part for part in parts
        )
        return bool(first == second)

    def chosen(value: Any) -> Any:
        if isinstance(value, list):
            parts = [chosen(part) for part in value]
            return [part for part in parts if part != {"Ref": "AWS::NoValue"}]
        if not isinstance(value, dict):
            return value
        if value.keys() == {"Fn::If"}:
            condition, then, otherwise = value["Fn::If"]
            return chosen(then if holds(condition) else otherwise)
        kept = {name: chosen(part) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part != {"Ref": "AWS::NoValue"}}

    left = {"Resources": {}, "Outputs": {}} | {
        name: template[name] for name in ("Metadata", "Parameters", "Rules")
    }
    for section in ("Resources", "Outputs"):
        for name, found in template[section].items():
            if "Condition" not in found or holds(found["Condition"]):
                left[section][name] = chosen(
                    {key: part for key, part in found.items() if key != "Condition"}
                )
    return json.dumps(left)


def deployed(variant: str = "plain") -> Properties:
    """What CloudFormation makes with the parameters of a variant: without conditions and their
    losers.
    """
    return dict(json.loads(_deployed(variant)))


def of_type(template: Properties, kind: str) -> dict[str, Properties]:
    """Properties of every resource of one type, by logical id."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


STREAM = "FetchStreamFunction"
"""The one function that is no handler: a web server, for replies that another function sends whole.
"""


def functions() -> dict[str, str]:
    """Logical id of each function that is a handler, by the module it runs."""
    found = of_type(expanded(), "AWS::Lambda::Function")
    return {
        properties["Handler"].split(".")[1]: name
        for name, properties in found.items()
        if name != STREAM
    }


def router(module: str) -> APIRouter:
    """The routes of a function: none for a job."""
    found = getattr(importlib.import_module(f"functions.{module}"), "router", APIRouter())
    assert isinstance(found, APIRouter)
    return found


# ── Permissions ───────────────────────────────────────────────────────────────────────────────────

PARAMETER = (
    "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter${SigningKeysParameter}"
)
CLIENT_SECRETS = PARAMETER.replace("SigningKeysParameter", "ClientSecretsParameter")
ALL_FUNCTIONS = (
    "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-*"
)
PLACES = {
    '{"Fn::GetAtt": ["HubTable", "Arn"]}': "hub",
    '{"Fn::GetAtt": ["CounterTable", "Arn"]}': "counters",
    '{"Fn::Sub": "${Bucket.Arn}/repos/*"}': "repos/*",
    '{"Fn::Sub": "${Bucket.Arn}/uploads/*"}': "uploads/*",
    '{"Fn::Sub": "${Bucket.Arn}/uploads/*/staged/*"}': "uploads/*/staged/*",
    '{"Fn::GetAtt": ["Bucket", "Arn"]}': "bucket",
    json.dumps({"Fn::Sub": PARAMETER}): "/pieria/signing-keys",
    json.dumps({"Fn::Sub": f"{PARAMETER}-private"}): "/pieria/signing-keys-private",
    json.dumps({"Fn::Sub": ALL_FUNCTIONS}): "function *",
    json.dumps({"Fn::Sub": CLIENT_SECRETS}): "/pieria/client-secrets",
}
"""The places that a permission may name: one table, one prefix, the bucket's list of keys, or the
signing keys. The boundary also names all functions of the hub.
"""
PLACES |= {
    json.dumps({"Fn::GetAtt": [row.logical_id, "Arn"]}): f"function {row.module}"
    for row in ENDPOINTS
}


class Grant(NamedTuple):
    """One permission, as narrow as it is written: an action, a place (one of PLACES), and which
    partitions.
    """

    action: str
    place: str
    partitions: str = "*"

    def covers(self, use: Use) -> bool:
        """Whether this lets a function make its call."""
        return (
            self.action == use.action
            and matches(self.place, use.place)
            and matches(self.partitions, use.partition)
        )


def grants(function: str) -> set[Grant]:
    """The permissions of a function's policy.

    Raises KeyError for a resource that is no single table, prefix or parameter.
    """
    role = expanded()["Resources"][f"{function}Role"]["Properties"]
    return {
        grant
        for policy in role.get("Policies", [])
        for statement in policy["PolicyDocument"]["Statement"]
        for grant in granted(statement)
    }


def granted(statement: Properties) -> list[Grant]:
    """The permissions in one statement.

    Fails for anything that is written in another way than all are.
    """
    condition = statement.get(
        "Condition", {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["*"]}}
    )
    assert (
        statement.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        and statement["Effect"] == "Allow"
    )
    [(operator, keys)] = condition.items()
    # With any other operator, a batch would be let through for one key of it, or refused as a
    # whole.
    assert operator == "ForAllValues:StringLike" and keys.keys() == {"dynamodb:LeadingKeys"}
    resources = (
        statement["Resource"]
        if isinstance(statement["Resource"], list)
        else [statement["Resource"]]
    )
    return [
        Grant(action, PLACES[json.dumps(resource)], partitions)
        for action in statement["Action"]
        for resource in resources
        for partitions in keys["dynamodb:LeadingKeys"]
    ]
