"""Retention, cost, and the alarms of a failure."""

import json
import re

import pytest

from shared import metrics
from tests.template.expansion import ROOT, VARIANTS, deployed, expanded, of_type

FREE_AT_REST = {
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::ApiMapping",
    "AWS::ApiGatewayV2::DomainName",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudFront::CachePolicy",
    "AWS::CloudFront::ResponseHeadersPolicy",
    "AWS::CloudFront::Distribution",  # without an address of its own, see test_edge
    "AWS::CloudFront::Function",
    "AWS::DynamoDB::Table",  # on demand, see below
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Role",
    "AWS::Events::Rule",  # a run without due work: see docs/deploy.md
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Url",
    "AWS::Lambda::WebFunction",
    "AWS::Lambda::WebFunctionEndpoint",
    "AWS::Lambda::WebFunctionRevision",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Topic",
}
"""Resource types without a cost while no request comes, except for stored bytes."""
DASHBOARD = "AWS::CloudWatch::Dashboard"
ALARM = "AWS::CloudWatch::Alarm"
"""$0.10 a month: the one thing that is paid without being asked, and only if it is wanted."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_is_paid_by_the_hour(variant: str) -> None:
    template = deployed(variant)
    wanted = VARIANTS[variant]
    allowed = FREE_AT_REST | ({ALARM} if "AlarmEmail" in wanted else set())
    allowed |= {DASHBOARD} if "Dashboard" in wanted else set()
    assert {resource["Type"] for resource in template["Resources"].values()} <= allowed
    assert len(of_type(template, ALARM)) <= 10
    for table in of_type(template, "AWS::DynamoDB::Table").values():
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        assert table.keys().isdisjoint(
            {"GlobalSecondaryIndexes", "StreamSpecification", "WarmThroughput"}
        )
    paid = {"SnapStart", "VpcConfig", "FileSystemConfigs", "EphemeralStorage"}
    for function in of_type(template, "AWS::Lambda::Function").values():
        assert function.keys().isdisjoint(paid)
        is_traced = function["TracingConfig"]["Mode"] == "Active"
        assert is_traced == ("Tracing" in wanted)


def test_every_kind_of_resource_is_in_some_deployment() -> None:
    """Otherwise the list above would allow unused types."""
    kinds = {
        resource["Type"]
        for variant in VARIANTS
        for resource in deployed(variant)["Resources"].values()
    }
    assert kinds == FREE_AT_REST | {ALARM, DASHBOARD}


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
    assert [rule for rule in rules if "ExpirationInDays" in rule] == [quarantine], (
        "what was accepted never expires"
    )
    (everywhere,) = [rule for rule in rules if "Prefix" not in rule]
    assert everywhere["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert everywhere["NoncurrentVersionExpiration"]["NoncurrentDays"] >= 7


def test_the_bucket_refuses_plain_http() -> None:
    (policy,) = of_type(deployed("plain"), "AWS::S3::BucketPolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [
        {"Fn::GetAtt": ["Bucket", "Arn"]},
        {"Fn::Sub": "${Bucket.Arn}/*"},
    ]


# ── Alarms ────────────────────────────────────────────────────────────────────────────────────────

WATCHED = {
    "FailuresAlarm": ("AWS/ApiGateway", "5xx", "Api"),
    "SlowAlarm": ("AWS/ApiGateway", "IntegrationLatency", "Api"),
    "ThrottlesAlarm": ("AWS/Lambda", "Throttles", None),
    "TableAlarm": ("AWS/DynamoDB", "WriteThrottleEvents", "HubTable"),
    "CostAlarm": ("pieria", "HubCost", "CounterTable"),
    "UpkeepAlarm": ("pieria", "UpkeepFailures", "CounterTable"),
    "StreamFailuresAlarm": ("AWS/Lambda", "Url5xxCount", "FetchStreamFunction"),
    "StreamSlowAlarm": ("AWS/Lambda", "Duration", "FetchStreamFunction"),
    "BugAlarm": ("pieria", "Refusals", "CounterTable"),
    "DamageAlarm": ("pieria", "Refusals", "CounterTable"),
}
"""Each alarm's metric, and the resource that it is of; None: of the whole account."""


@pytest.mark.parametrize(
    ("variant", "count"), [("plain", 0), ("alarms", 6), ("edge", 0), ("full", 10)]
)
def test_the_operator_is_notified_if_an_address_is_set(variant: str, count: int) -> None:
    alarms = of_type(deployed(variant), ALARM)
    assert set(alarms) == set(list(WATCHED)[:count])
    topics = of_type(deployed(variant), "AWS::SNS::Topic")
    assert len(topics) == bool(count)
    for topic in topics.values():
        assert topic["Subscription"] == [{"Protocol": "email", "Endpoint": {"Ref": "AlarmEmail"}}]
    for name, alarm in alarms.items():
        namespace, metric, watched = WATCHED[name]
        assert (alarm["Namespace"], alarm["MetricName"]) == (namespace, metric)
        dimensions = [dimension["Value"] for dimension in alarm.get("Dimensions", [])]
        assert dimensions[:1] == ([{"Ref": watched}] if watched else [])
        assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]
        assert alarm["TreatMissingData"] == "notBreaching", "nobody asking is no failure"


def anchors(page: str) -> set[str]:
    """The anchors of the headings of a page in Markdown."""
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") for heading in headings}


def test_each_alarm_names_its_paragraph_of_the_runbook() -> None:
    named = set()
    for name, alarm in of_type(deployed("full"), ALARM).items():
        found = re.search(r"\. Runbook: docs/runbook\.md#([a-z-]+)$", alarm["AlarmDescription"])
        assert found, name
        named.add(found[1])
    page = (ROOT / "docs" / "runbook.md").read_text()
    assert named == anchors(page), "an alarm without a paragraph, or a paragraph without an alarm"


def test_the_dashboard_shows_only_metrics_that_exist() -> None:
    [dashboard] = of_type(deployed("full"), DASHBOARD).values()
    body = json.loads(dashboard["DashboardBody"]["Fn::Sub"])
    shown = json.dumps(body)
    seen = metrics.Seen("/{owner}/{slug}/push", 503, "unavailable", 1, 1, 1, 1, 1, 1)
    line = metrics.fields(seen, "counters", 1.0)
    own = {
        metric[1]
        for widget in body["widgets"]
        for metric in widget["properties"].get("metrics", [])
        if widget["y"] >= 14 and len(metric) > 1
    }
    happen = {"Pushes", "Fetches", "Conflicts", "ColdStarts"}
    assert own - happen <= line.keys()
    assert {"RouteRequests", "Refusals", "Route", "Code"} <= line.keys()
    assert 'MetricName=\\"Refusals' in shown and 'MetricName=\\"RouteRequests' in shown
    assert deployed("plain")["Resources"].keys().isdisjoint({"HubDashboard"})


def test_an_alarm_comes_before_the_time_is_up() -> None:
    template = deployed("full")
    slowest = max(
        f["TimeoutInMillis"] for f in of_type(template, "AWS::ApiGatewayV2::Integration").values()
    )
    stream = 1000 * template["Resources"]["FetchStreamFunction"]["Properties"]["Timeout"]
    alarms = of_type(template, ALARM)
    assert 0.8 * slowest <= alarms["SlowAlarm"]["Threshold"] < slowest - 1000, (
        "a function ends a second earlier"
    )
    assert 0.8 * stream <= alarms["StreamSlowAlarm"]["Threshold"] < stream
