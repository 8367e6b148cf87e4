"""The artefact in a stack without one of its packages.

Under AWS's own runtime emulator: tests/infra/test_invoke.py.
"""

import json
import subprocess
from pathlib import Path

import pytest

from infra import build
from infra.cloud import deployment
from infra.cloud.deployment import Stack
from tests import client

pytestmark = pytest.mark.cloud

MASKED = "pydantic"
"""ministack brings one of its own, which a function must not find."""


def test_a_package_that_is_missing_is_missed(stack: Stack, folder: Path) -> None:
    """So the functions of the stack can only find the built files."""
    functions = stack.client("lambda")
    role = stack.client("iam").get_role(RoleName=stack.roles()["HealthFunction"])["Role"]["Arn"]
    functions.create_function(
        FunctionName="masked",
        Runtime="provided.al2023",
        Handler="functions.health.handler",
        Role=role,
        Timeout=29,
        Code={"ZipFile": deployment.package(folder, [], without=MASKED).read_bytes()},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="masked")
    reply = functions.invoke(
        FunctionName="masked", Payload=json.dumps(client.event("GET", "/health"))
    )
    failure = json.load(reply["Payload"])["errorMessage"]
    assert "Runtime.ImportModuleError" in failure
    assert f"No module named '{MASKED}'" in failure
    assert (build.HOST / MASKED).is_dir()


def test_the_artefact_signs_a_token_with_a_private_key_and_verifies_it() -> None:
    """No handler imports libsodium when it starts, so the check of the build does not."""
    source = (
        f"import sys; sys.path.insert(0, {str(build.HOST)!r}); from shared import signing;"
        " private, public = signing.new_pair();"
        " print(signing.verify(public, signing.sign({'one': private}, {'sub': 'me'})))"
    )
    command = [str(build.host_python()), "-ISB", "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "{'sub': 'me'}\n"
