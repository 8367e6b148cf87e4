"""Deploys the stack of template.yaml into a running ministack, by the SAM CLI as into an account.

README.md in this folder lists the differences from AWS. The artefact is `build/host`, made for this
machine. The runtime of the functions is `provided.al2023`, with a `bootstrap` that starts AWS's
runtime client: ministack's Python runtime would run them in its own environment, where a missing
dependency may be found by accident.
"""

import itertools
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3

from infra import build, stack, tools

STACK = "pieria"
REGION = "us-east-1"
ADMINISTRATOR = {
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
    "region_name": REGION,
}
"""The credentials for which ministack allows every call."""

PATIENCE_SECONDS = 60
"""The time-out of each function. A cold start on a busy machine takes long, and is not tested."""

LAMBDA_GIVES = (
    "AWS_LAMBDA_RUNTIME_API AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_FUNCTION_VERSION"
    " AWS_LAMBDA_FUNCTION_MEMORY_SIZE AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_STREAM_NAME"
    " AWS_REGION AWS_DEFAULT_REGION AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN"
    " LAMBDA_TASK_ROOT _HANDLER"
).split()
"""The variables that Lambda sets for a function."""


class Failed(Exception):
    """The SAM CLI failed. The message is the end of its output."""


@dataclass(frozen=True)
class Stack:
    """A deployed stack: the URL of AWS, the certificate to trust, and the stack's outputs."""

    aws_url: str
    trust: Path
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The Host header of requests to the API. They go to the URL of AWS, which distinguishes
        APIs by their names."""
        api = self.outputs["ApiUrl"].removeprefix("https://").split(".")[0]
        return f"{api}.execute-api.localhost:{self.aws_url.rpartition(':')[2]}"

    def client(self, service: Any, **credentials: str) -> Any:
        """An AWS client, with the credentials of the administrator by default."""
        who: dict[str, Any] = {**ADMINISTRATOR, **credentials}
        return boto3.client(service, endpoint_url=self.aws_url, verify=str(self.trust), **who)

    def roles(self) -> dict[str, str]:
        """The names of the functions' roles, by the logical id of the function."""
        names = {
            name: physical
            for name, physical in self.resources().items()
            if name.endswith("FunctionRole")
        }
        return {name.removesuffix("Role"): physical for name, physical in names.items()}

    def resources(self) -> dict[str, str]:
        """The physical ids of the stack's resources, by logical id."""
        pages = (
            self.client("cloudformation")
            .get_paginator("list_stack_resources")
            .paginate(StackName=STACK)
        )
        summaries = itertools.chain.from_iterable(page["StackResourceSummaries"] for page in pages)
        return {found["LogicalResourceId"]: found["PhysicalResourceId"] for found in summaries}


def deploy(cloud: Stack, folder: Path, parameters: Mapping[str, str]) -> Stack:
    """Deploy `build/host` with these parameters of the template.

    Temporary files go into `folder`. Raises Failed.
    """
    template = stack.document()
    archive = package(folder, variables(template))
    _run_here(template, archive)
    (folder / "template.json").write_text(json.dumps(template))
    given = [f"{name}={value}" for name, value in parameters.items()]
    options = [
        "--stack-name",
        STACK,
        "--region",
        REGION,
        "--resolve-s3",
        "--capabilities",
        "CAPABILITY_IAM",
    ]
    quietly = ["--no-confirm-changeset", "--no-progressbar", "--parameter-overrides", *given]
    _sam(
        ["deploy", "--template-file", str(folder / "template.json"), *options, *quietly],
        cloud,
        folder,
    )
    _bound(cloud)
    (described,) = cloud.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return replace(
        cloud,
        outputs={output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]},
    )


def _bound(cloud: Stack) -> None:
    """Set the boundary of every role as in the template: ministack's CloudFormation ignores it."""
    boundary = cloud.resources()["Boundary"]
    for role in cloud.roles().values():
        cloud.client("iam").put_role_permissions_boundary(
            RoleName=role, PermissionsBoundary=boundary
        )


def package(folder: Path, variables: list[str], without: str = "") -> Path:
    """Make a zip of `build/host` with a `bootstrap`. `without`: a package to omit."""
    content = folder / "package"
    shutil.copytree(build.HOST, content)
    if without:
        shutil.rmtree(content / without)
    python = tools.environment("runtime", build.host_python()) / "python"
    passed = " ".join(
        f'${{{name}+"{name}=${name}"}}'
        for name in [*LAMBDA_GIVES, "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", *variables]
    )
    bootstrap = content / "bootstrap"
    run = f'{shlex.quote(str(python))} -m awslambdaric "$_HANDLER"'
    bootstrap.write_text(f"#!/bin/sh\nexec env -i PATH=/usr/bin:/bin {passed} {run}\n")
    bootstrap.chmod(0o755)
    archive = folder / f"package{f'-without-{without}' if without else ''}.zip"
    build.pack(content, archive)
    shutil.rmtree(content)
    return archive


def variables(template: Mapping[str, Any]) -> list[str]:
    """The names of all variables that the template sets for functions."""
    places = [
        template["Globals"]["Function"],
        *(found["Properties"] for found in _functions(template)),
    ]
    found = [place.get("Environment", {}).get("Variables", {}) for place in places]
    return sorted(set(itertools.chain.from_iterable(found)))


def _functions(template: Mapping[str, Any]) -> list[Any]:
    return [
        found
        for found in template["Resources"].values()
        if found["Type"] == "AWS::Serverless::Function"
    ]


def _run_here(template: Mapping[str, Any], archive: Path) -> None:
    """Change every function so that this machine can run it."""
    for place in [
        template["Globals"]["Function"],
        *(found["Properties"] for found in _functions(template)),
    ]:
        if "Runtime" in place:
            place["Runtime"] = "provided.al2023"
        if "CodeUri" in place:
            place["CodeUri"] = str(archive)
        if "Timeout" in place:
            place["Timeout"] = PATIENCE_SECONDS


def _sam(arguments: list[str], cloud: Stack, folder: Path) -> None:
    done = subprocess.run(
        [tools.environment("sam") / "sam", *arguments],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),  # without the credentials and settings of the user
            "AWS_ENDPOINT_URL": cloud.aws_url,
            "AWS_CA_BUNDLE": str(cloud.trust),
            "AWS_ACCESS_KEY_ID": ADMINISTRATOR["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": ADMINISTRATOR["aws_secret_access_key"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
        },
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Failed((done.stdout + done.stderr)[-4000:])
