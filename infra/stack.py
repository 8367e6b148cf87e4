"""Creates the tables and the bucket of template.yaml at any endpoint with the API of AWS.

The template alone defines them: keys, billing, expiry, versions. Properties without an effect on an
emulator (backups, tags, encryption, lifecycle) are skipped.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import yaml
from botocore.config import Config

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client

TEMPLATE = Path(__file__).with_name("template.yaml")
"""In a checkout, a link to the template at the root. In an installed package, a copy of it."""

_TABLE_PROPERTIES = (
    "AttributeDefinitions",
    "KeySchema",
    "BillingMode",
    "DeletionProtectionEnabled",
)


class Unreadable(Exception):
    """The template cannot be read. The message is one line with the next step."""


class Resource(NamedTuple):
    """A resource of the template.

    Intrinsics in its properties have their long form: `{"Ref": …}`, `{"Fn::Sub": …}`.
    """

    type: str
    properties: dict[str, Any]


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short intrinsics."""


def _intrinsic(loader: _Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    match node:
        case yaml.MappingNode():
            value = loader.construct_mapping(node, deep=True)
        case yaml.SequenceNode():
            value = loader.construct_sequence(node, deep=True)
        case _:
            value = node.value
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def document(template: Path = TEMPLATE) -> dict[str, Any]:
    """The whole template, with intrinsics in their long form. Raises Unreadable."""
    try:
        text = template.read_text()
    except OSError as error:
        raise Unreadable(
            f"cannot read {template} ({error.strerror}): install pieria again"
        ) from None
    # The loader is a safe one, with constructors that make plain dictionaries.
    parsed: dict[str, Any] = yaml.load(text, _Loader)  # noqa: S506
    return parsed


def resources(template: Path = TEMPLATE) -> dict[str, Resource]:
    """The template's resources by logical id."""
    return {
        name: Resource(resource["Type"], resource.get("Properties", {}))
        for name, resource in document(template)["Resources"].items()
    }


def create(endpoint_url: str, names: Mapping[str, str], template: Path = TEMPLATE) -> None:
    """Create the tables and buckets with these logical ids under these names. Existing ones stay as
    they are.

    Region and credentials come from the environment, as for every AWS client. Raises Unreadable.
    """
    found = resources(template)
    # A new session, since boto3's default session keeps the credentials of its first use.
    session = boto3.Session()
    dynamodb = session.client("dynamodb", endpoint_url=endpoint_url)
    s3 = session.client(
        "s3", endpoint_url=endpoint_url, config=Config(s3={"addressing_style": "path"})
    )
    for logical_id, name in names.items():
        kind, properties = found[logical_id]
        if kind == "AWS::DynamoDB::Table":
            _create_table(dynamodb, name, properties)
        elif kind == "AWS::S3::Bucket":
            _create_bucket(s3, name, properties)
        else:
            raise ValueError(f"{logical_id} is a {kind}; only tables and buckets are created here")


def _create_table(dynamodb: "DynamoDBClient", name: str, properties: dict[str, Any]) -> None:
    wanted = {key: properties[key] for key in _TABLE_PROPERTIES if key in properties}
    try:
        dynamodb.create_table(TableName=name, **wanted)
    except dynamodb.exceptions.ResourceInUseException:
        return
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    expiry = properties.get("TimeToLiveSpecification")
    if expiry:
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=expiry)


def _create_bucket(s3: "S3Client", name: str, properties: dict[str, Any]) -> None:
    try:
        s3.create_bucket(Bucket=name)
    except s3.exceptions.BucketAlreadyOwnedByYou:
        return
    versions = properties.get("VersioningConfiguration")
    if versions:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=versions)
