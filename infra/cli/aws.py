"""Checks of each AWS resource that a hub needs. A failed check names the cause and the fix.

A failed check does not stop the later ones, except for missing credentials: no call is possible
without them.
"""

import email.utils
import time
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from infra import stack
from infra.cli.check import Check
from infra.cli.cli_error import CliError
from shared import auth, signing
from shared.settings import Settings, parse_keys

KEYS = "signing keys"
"""The name of the check of the SSM parameter."""
PRIVATE_KEY = "private key"
SHARED_SECRET = ("there is none: every function can sign tokens", "make it: `pieria key rotate`")
DENIED = {"AccessDenied", "AccessDeniedException", "403"}
LOGIN = (
    "log in again (`aws sso login` or `aws configure`), or set AWS_ACCESS_KEY_ID and"
    " AWS_SECRET_ACCESS_KEY"
)
CONNECT = "check the network, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL"
SET_REGION = "set AWS_DEFAULT_REGION to the hub's"
QUICK = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})
LOGGED_OUT = (
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
VARIABLES = {
    "hub table": "PIERIA_HUB_TABLE",
    "counter table": "PIERIA_COUNTER_TABLE",
    "expiry": "PIERIA_COUNTER_TABLE",
    "bucket": "PIERIA_BUCKET",
    "versions": "PIERIA_BUCKET",
}
"""The variable with the name of each resource, by check."""
SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
FOREIGN = {
    "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId",
    "InvalidSignatureException", "SignatureDoesNotMatch", "UnrecognizedClientException",
}  # fmt: skip


def checks(settings: Settings) -> Iterator[Check]:
    """Credentials, tables, bucket and clock, one after the other."""
    try:
        session = boto3.Session()
        credentials = session.get_credentials()
    except BotoCoreError as error:
        yield unanswered("credentials", "AWS", error)
        return
    if credentials is None:
        yield Check("credentials", "failed", "there are no AWS credentials", LOGIN)
        return
    yield Check("credentials", "ok", f"by {credentials.method}")
    if not session.region_name:
        yield unanswered("region", "AWS", NoRegionError())
        return
    yield Check("region", "ok", session.region_name)
    dates: list[str] = []
    if settings.signing_keys_parameter:
        ssm: Any = session.client("ssm", config=QUICK)
        yield from _keys(ssm, settings.signing_keys_parameter, dates)
    dynamodb: Any = session.client("dynamodb", config=QUICK)
    s3: Any = session.client("s3", config=QUICK)
    yield _table(dynamodb, "hub table", "HubTable", settings.hub_table, dates)
    yield _table(dynamodb, "counter table", "CounterTable", settings.counter_table, dates)
    yield _expiry(dynamodb, settings.counter_table, dates)
    yield _bucket(s3, settings.bucket, dates)
    yield _versions(s3, settings.bucket, dates)
    yield clock(dates)


def _keys(client: Any, name: str, dates: list[str]) -> Iterator[Check]:
    keys = _parameter(KEYS, client, name, dates)
    if isinstance(keys, Check):
        yield keys
        return
    yield Check(KEYS, "ok", ", ".join(keys))
    private = _parameter(PRIVATE_KEY, client, signing.private_parameter(name), dates)
    if isinstance(private, Check):
        yield private if signing.has_public(keys) else Check(PRIVATE_KEY, "warning", *SHARED_SECRET)
    else:
        yield Check(PRIVATE_KEY, "ok", ", ".join(private))


def _parameter(piece: str, client: Any, name: str, dates: list[str]) -> dict[str, str] | Check:
    """The keys in an SSM parameter, or the check that failed."""
    reply = _call(piece, name, dates, client.get_parameter, Name=name, WithDecryption=True)
    if isinstance(reply, Check):
        return reply
    try:
        return parse_keys(reply["Parameter"]["Value"])
    except ValueError as error:
        fix = "delete it, then make another with `pieria key rotate`"
        return Check(piece, "failed", f"{name} is {error}", fix)


def _table(client: Any, piece: str, logical_id: str, name: str, dates: list[str]) -> Check:
    reply = _call(piece, name, dates, client.describe_table, TableName=name)
    if isinstance(reply, Check):
        return reply
    found = reply["Table"]
    wanted = stack.resources()[logical_id].properties
    if found["KeySchema"] != wanted["KeySchema"]:
        keys = ", ".join(key["AttributeName"] for key in found["KeySchema"])
        fix = f"set {VARIABLES[piece]} to the stack's output {logical_id}"
        return Check(piece, "failed", f"{name} has the keys {keys}, so it is not the {piece}", fix)
    if found["TableStatus"] != "ACTIVE":
        return Check(
            piece, "failed", f"{name} is {found['TableStatus']}", "wait until it is ACTIVE"
        )
    return Check(piece, "ok", str(found["TableArn"]))


def _expiry(client: Any, name: str, dates: list[str]) -> Check:
    reply = _call("expiry", name, dates, client.describe_time_to_live, TableName=name)
    if isinstance(reply, Check):
        return reply
    if reply["TimeToLiveDescription"]["TimeToLiveStatus"] not in ("ENABLED", "ENABLING"):
        return Check(
            "expiry",
            "warning",
            f"rows of {name} never expire",
            "deploy the template again: it enables their expiry",
        )
    return Check("expiry", "ok", f"rows of {name} expire")


def _bucket(client: Any, name: str, dates: list[str]) -> Check:
    reply = _call("bucket", name, dates, client.head_bucket, Bucket=name)
    if isinstance(reply, Check):
        return reply
    return Check("bucket", "ok", name)


def _versions(client: Any, name: str, dates: list[str]) -> Check:
    reply = _call("versions", name, dates, client.get_bucket_versioning, Bucket=name)
    if isinstance(reply, Check):
        return reply
    if reply.get("Status") != "Enabled":
        result = f"{name} keeps no old versions, so a deletion cannot be undone"
        return Check(
            "versions", "warning", result, "deploy the template again: it enables versioning"
        )
    return Check("versions", "ok", f"{name} keeps old versions")


def clock(dates: list[str]) -> Check:
    """Compare this machine's clock with the last date that AWS sent."""
    if not dates:
        return Check(
            "clock", "ok", "not compared: the hub runs on this machine, or AWS did not answer"
        )
    off = round(time.time() - email.utils.parsedate_to_datetime(dates[-1]).timestamp())
    # A date has no fractions of a second, and it is older by the time of the reply.
    if abs(off) > auth.CLOCK_SECONDS:
        result = (
            f"this machine's clock is {abs(off)} seconds {'ahead of' if off > 0 else 'behind'}"
            " AWS's"
        )
        return Check("clock", "failed", result, "set it, best by NTP: `timedatectl set-ntp true`")
    return Check("clock", "ok", f"within {auth.CLOCK_SECONDS} seconds of AWS's")


def _call(
    piece: str, name: str, dates: list[str], call: Any, **parameters: Any
) -> Check | dict[str, Any]:
    """The reply of AWS, or a failed check. Adds the date of the reply to `dates`."""
    try:
        reply: dict[str, Any] = call(**parameters)
    except ClientError as error:
        _note(error.response, dates)
        return refused(piece, name, error)
    except (BotoCoreError, ValueError) as error:
        return unanswered(piece, name, error)
    _note(reply, dates)
    return reply


def _note(reply: Any, dates: list[str]) -> None:
    date = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if date:
        dates.append(date)


def account(region: str) -> str:
    """The id of the account of the credentials. Raises CliError if AWS does not accept them."""
    try:
        client: Any = boto3.Session().client("sts", region_name=region, config=QUICK)
        return str(client.get_caller_identity()["Account"])
    except ClientError as error:
        found = refused("account", f"AWS in {region}", error)
    except (BotoCoreError, ValueError) as error:
        found = unanswered("account", f"AWS in {region}", error)
    raise CliError(f"{found.result}: {found.fix}")


def unanswered(piece: str, name: str, error: Exception) -> Check:
    """The check for a call without a reply. `piece`: the check, `name`: the resource."""
    if isinstance(error, NoCredentialsError):
        return Check(piece, "failed", "there are no AWS credentials", LOGIN)
    if isinstance(error, LOGGED_OUT):
        return Check(piece, "failed", f"the AWS credentials cannot be used ({error})", LOGIN)
    if isinstance(error, ProfileNotFound):
        return Check(
            piece,
            "failed",
            f"{error}",
            "set AWS_PROFILE to a profile of ~/.aws/config, or unset it",
        )
    if isinstance(error, NoRegionError):
        return Check(piece, "failed", "no AWS region is set", SET_REGION)
    if isinstance(error, (ConnectionError, HTTPClientError)):
        return Check(piece, "failed", f"{name} cannot be reached ({error})", CONNECT)
    fix = "correct the settings of AWS: variables AWS_…, ~/.aws/config and ~/.aws/credentials"
    return Check(piece, "failed", f"the call to {name} failed ({error})", fix)


def refused(piece: str, name: str, error: ClientError) -> Check:
    """The check for a call that AWS refused. `piece`: the check, `name`: the resource."""
    code = error.response["Error"]["Code"]
    if code in DENIED:
        fix = "use credentials of its account, with permission to read and write it"
        return Check(piece, "failed", f"these credentials may not use the {piece} {name}", fix)
    if code in SKEWED:
        return Check(piece, "failed", "AWS refuses this machine's clock", "set it, best by NTP")
    if code in FOREIGN:
        return Check(
            piece,
            "failed",
            f"AWS does not accept these credentials ({code})",
            f"{LOGIN}; check the clock, too",
        )
    if code == "ParameterNotFound":
        return Check(
            piece, "failed", f"there is no parameter {name} here", "make it: `pieria key rotate`"
        )
    if code in ("ResourceNotFoundException", "NoSuchBucket", "404"):
        fix = f"check {VARIABLES[piece]} and AWS_DEFAULT_REGION, or deploy the template"
        return Check(piece, "failed", f"there is no {piece} {name} here", fix)
    return Check(
        piece,
        "failed",
        f"{name} refused to answer ({code})",
        "try again later; see the AWS Health Dashboard",
    )
