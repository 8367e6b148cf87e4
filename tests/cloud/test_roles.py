"""Each function's role as deployed: what its policy allows is carried out, and everything else is
denied.

The policies are read back from the stack; ministack, which is not ours, enforces them. Whether they
are the right ones is held by the tests of the template. ministack knows no `dynamodb:LeadingKeys`:
conditions on it are left out.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.cloud.deployment import Stack
from tests.cloud.conftest import KEYS_PARAMETER
from tests.template.recorder import matches

pytestmark = pytest.mark.cloud

DENIALS = ("AccessDenied", "AccessDeniedException")
ACCOUNT = "arn:aws:iam::000000000000:root"
ROW = {"pk": {"S": "probe"}, "sk": {"S": "probe"}}

Attempt = Callable[[Callable[[str], Any], str], Any]
"""Makes a call, with the role's client of a service, to the table, bucket or parameter of this
name.
"""

ON_ROWS: dict[str, Attempt] = {
    "dynamodb:GetItem": lambda c, t: c("dynamodb").get_item(TableName=t, Key=ROW),
    "dynamodb:BatchGetItem": (
        lambda c, t: c("dynamodb").batch_get_item(RequestItems={t: {"Keys": [ROW]}})
    ),
    "dynamodb:Query": (
        lambda c, t: c("dynamodb").query(
            TableName=t,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": ROW["pk"]},
        )
    ),
    "dynamodb:Scan": lambda c, t: c("dynamodb").scan(TableName=t, Limit=1),
    "dynamodb:PutItem": lambda c, t: c("dynamodb").put_item(TableName=t, Item=ROW),
    "dynamodb:UpdateItem": (
        lambda c, t: c("dynamodb").update_item(
            TableName=t,
            Key=ROW,
            UpdateExpression="SET n = :n",
            ExpressionAttributeValues={":n": {"N": "1"}},
        )
    ),
    "dynamodb:DeleteItem": lambda c, t: c("dynamodb").delete_item(TableName=t, Key=ROW),
    "dynamodb:BatchWriteItem": (
        lambda c, t: c("dynamodb").batch_write_item(
            RequestItems={t: [{"PutRequest": {"Item": ROW}}]}
        )
    ),
    "dynamodb:UpdateTable": (
        lambda c, t: c("dynamodb").update_table(TableName=t, DeletionProtectionEnabled=True)
    ),
}
ON_BYTES: dict[str, Attempt] = {
    "s3:GetObject": lambda c, k: c("s3").get_object(Bucket=k.split("/")[0], Key=k.split("/", 1)[1]),
    "s3:PutObject": (
        lambda c, k: c("s3").put_object(Bucket=k.split("/")[0], Key=k.split("/", 1)[1], Body=b"x")
    ),
    # A version that does not exist: the permission is checked first.
    "s3:DeleteObjectVersion": (
        lambda c, k: c("s3").delete_object(
            Bucket=k.split("/")[0], Key=k.split("/", 1)[1], VersionId="0" * 32
        )
    ),
    "s3:DeleteObject": (
        lambda c, k: c("s3").delete_object(Bucket=k.split("/")[0], Key=k.split("/", 1)[1])
    ),
}
ON_BUCKET: dict[str, Attempt] = {
    "s3:ListBucket": lambda c, b: c("s3").list_objects_v2(Bucket=b, MaxKeys=1),
    "s3:ListBucketVersions": lambda c, b: c("s3").list_object_versions(Bucket=b, MaxKeys=1),
    "s3:PutBucketPolicy": lambda c, b: c("s3").put_bucket_policy(Bucket=b, Policy="{}"),
}
ON_KEYS: dict[str, Attempt] = {
    "ssm:GetParameter": lambda c, p: c("ssm").get_parameter(Name=p, WithDecryption=True),
    "ssm:PutParameter": lambda c, p: c("ssm").put_parameter(Name=p, Value="x" * 32, Type="String"),
}


class World:
    """What there is to try: (action, ARN, name, call), and something to be found under every
    name.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        bucket = stack.outputs["Bucket"]
        hub, counters = (stack.outputs[name] for name in ("HubTable", "CounterTable"))
        stack.client("dynamodb").put_item(TableName=hub, Item=ROW)
        self.attempts: list[tuple[str, str, str, Attempt]] = []
        for table in (hub, counters):
            self._add(ON_ROWS, f"arn:aws:dynamodb:us-east-1:000000000000:table/{table}", table)
        for prefix in ("repos", "uploads", "elsewhere"):
            stack.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/probe", Body=b"x")
            self._add(ON_BYTES, f"arn:aws:s3:::{bucket}/{prefix}/probe", f"{bucket}/{prefix}/probe")
        self._add(ON_BUCKET, f"arn:aws:s3:::{bucket}", bucket)
        stack.client("ssm").put_parameter(Name="/others/secret", Value="x", Type="SecureString")
        for name in (KEYS_PARAMETER, "/others/secret"):
            self._add(ON_KEYS, f"arn:aws:ssm:us-east-1:000000000000:parameter{name}", name)

    def allowed(self, role: str) -> set[tuple[str, str]]:
        """Those of the attempts, as (action, ARN), that the role's own policies allow."""
        iam = self.stack.client("iam")
        policies = [
            iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
        ]
        return self._allowed_by(*policies)

    def allowed_to_any(self) -> set[tuple[str, str]]:
        """Those that the boundary of all roles lets any of them do."""
        iam, boundary = self.stack.client("iam"), self.stack.resources()["Boundary"]
        version = iam.get_policy(PolicyArn=boundary)["Policy"]["DefaultVersionId"]
        return self._allowed_by(
            iam.get_policy_version(PolicyArn=boundary, VersionId=version)["PolicyVersion"][
                "Document"
            ]
        )

    def _allowed_by(self, *policies: Any) -> set[tuple[str, str]]:
        statements = [statement for policy in policies for statement in policy["Statement"]]
        assert {statement["Effect"] for statement in statements} <= {"Allow"}
        return {
            (action, arn)
            for action, arn, _, _ in self.attempts
            for statement in statements
            if any(matches(pattern, action) for pattern in listed(statement["Action"]))
            and any(matches(pattern, arn) for pattern in listed(statement["Resource"]))
        }

    def carried_out(self, role: str) -> set[tuple[str, str]]:
        """Those of the attempts that are not denied to the role."""
        client = self._as(role)
        return {
            (action, arn)
            for action, arn, name, attempt in self.attempts
            if not denied(client, name, attempt)
        }

    def _add(self, attempts: dict[str, Attempt], arn: str, name: str) -> None:
        self.attempts += [(action, arn, name, attempt) for action, attempt in attempts.items()]

    def _as(self, role: str) -> Callable[[str], Any]:
        """Clients of a session of this role.

        Its trust is widened for that: only Lambda may assume it, as deployed.
        """
        iam = self.stack.client("iam")
        found = iam.get_role(RoleName=role)["Role"]
        trust = found["AssumeRolePolicyDocument"]
        assert trust["Statement"][0]["Principal"] == {"Service": ["lambda.amazonaws.com"]}
        ours = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
        widened = {**trust, "Statement": [trust["Statement"][0], ours]}
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(widened))
        session = self.stack.client("sts").assume_role(
            RoleArn=found["Arn"], RoleSessionName="probe"
        )["Credentials"]
        credentials = {
            "aws_access_key_id": session["AccessKeyId"],
            "aws_secret_access_key": session["SecretAccessKey"],
            "aws_session_token": session["SessionToken"],
        }
        clients: dict[str, Any] = {}
        return lambda service: clients.setdefault(
            service, self.stack.client(service, **credentials)
        )


def listed(value: Any) -> list[str]:
    """IAM lets one of something stand without its list."""
    return value if isinstance(value, list) else [value]


def denied(client: Callable[[str], Any], name: str, attempt: Attempt) -> bool:
    """Whether a call is refused for want of a permission; refusals for other reasons come after
    that.
    """
    try:
        reply = attempt(client, name)
    except ClientError as error:
        return error.response["Error"]["Code"] in DENIALS
    if "Body" in reply:
        reply["Body"].close()
    return False


@pytest.fixture(scope="module")
def world(stack: Stack) -> World:
    return World(stack)


def test_a_role_can_do_exactly_the_actions_of_its_policy(world: World) -> None:
    roles = world.stack.roles()
    assert len(roles) >= 18
    wrong = {}
    for function, role in roles.items():
        allowed, carried_out = world.allowed(role), world.carried_out(role)
        assert len(carried_out) < len(world.attempts) / 2, function
        if allowed != carried_out:
            wrong[function] = {
                "denied": sorted(allowed - carried_out),
                "let": sorted(carried_out - allowed),
            }
    assert wrong == {}


def test_the_boundary_limits_a_role_with_a_larger_policy(world: World) -> None:
    iam, role = world.stack.client("iam"), world.stack.roles()["RefsFunction"]
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_role_policy(RoleName=role, PolicyName="everything", PolicyDocument=policy)
    try:
        assert len(world.allowed(role)) == len(world.attempts)
        assert world.carried_out(role) == world.allowed_to_any()
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="everything")


def test_every_attempt_can_succeed(world: World) -> None:
    """Else a denial would prove nothing: for the administrator none is denied."""
    administrator = world.stack.client
    assert [
        action
        for action, _, name, attempt in world.attempts
        if denied(administrator, name, attempt)
    ] == []
