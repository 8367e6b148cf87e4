"""The stack has the resources of the template, with other names."""

from pathlib import Path
from typing import Any

import boto3
import pytest

from infra import stack
from infra.embedded_aws import EmbeddedAws

NAMES = {"HubTable": "stack-hub", "CounterTable": "stack-counters", "Bucket": "stack-bytes"}


@pytest.fixture(scope="module")
def url(aws: EmbeddedAws) -> str:
    """An endpoint with the stack, made twice."""
    for _ in range(2):
        stack.create(aws.url, NAMES)
    return aws.url


@pytest.mark.parametrize("table", ["HubTable", "CounterTable"])
def test_tables_equal_the_template(url: str, table: str) -> None:
    wanted = stack.resources()[table].properties
    dynamodb = boto3.client("dynamodb", endpoint_url=url)
    made = dynamodb.describe_table(TableName=NAMES[table])["Table"]
    assert made["KeySchema"] == wanted["KeySchema"]
    assert made["AttributeDefinitions"] == wanted["AttributeDefinitions"]
    assert made["BillingModeSummary"]["BillingMode"] == wanted["BillingMode"]
    expiry = dynamodb.describe_time_to_live(TableName=NAMES[table])["TimeToLiveDescription"]
    assert expiry.get("AttributeName") == wanted.get("TimeToLiveSpecification", {}).get(
        "AttributeName"
    )
    assert (expiry["TimeToLiveStatus"] == "ENABLED") is ("TimeToLiveSpecification" in wanted)


def test_the_bucket_equals_the_template(url: str) -> None:
    wanted = stack.resources()["Bucket"].properties
    versions = boto3.client("s3", endpoint_url=url).get_bucket_versioning(Bucket=NAMES["Bucket"])
    assert versions["Status"] == wanted["VersioningConfiguration"]["Status"]


def test_only_tables_and_buckets_are_made(url: str) -> None:
    with pytest.raises(ValueError, match="only tables and buckets"):
        stack.create(url, {"BucketPolicy": "policy"})


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("!Ref Bucket", {"Ref": "Bucket"}),
        ("!GetAtt Bucket.Arn", {"Fn::GetAtt": ["Bucket", "Arn"]}),
        ("!GetAtt [Bucket, Arn]", {"Fn::GetAtt": ["Bucket", "Arn"]}),
        ("!Sub '${Bucket.Arn}/*'", {"Fn::Sub": "${Bucket.Arn}/*"}),
        ("!Sub ['${a}', {a: !Ref Bucket}]", {"Fn::Sub": ["${a}", {"a": {"Ref": "Bucket"}}]}),
        ("!If [Cond, !Ref A, 1]", {"Fn::If": ["Cond", {"Ref": "A"}, 1]}),
        ("!Condition Cond", {"Condition": "Cond"}),
    ],
)
def test_intrinsics_take_their_long_form(tmp_path: Path, written: str, means: Any) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(f"Resources: {{X: {{Type: T, Properties: {{P: {written}}}}}}}")
    assert stack.resources(template)["X"] == stack.Resource("T", {"P": means})
