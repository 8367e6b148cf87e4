"""The environment variables of a hub that runs on this machine."""

import json
import os
import secrets
from collections.abc import Mapping

from infra.data_folder import SECRET_BYTES

NAMES = {"HubTable": "pieria-hub", "CounterTable": "pieria-counters", "Bucket": "pieria"}
"""Logical id in template.yaml → name here."""
ACCESS_KEY_BYTES = 16


def forget_users_aws() -> None:
    """Remove the user's AWS settings from the environment, and set a new access key.

    A profile, or an endpoint for S3 alone, would point to the user's real account. A proxy would
    get requests to 127.0.0.1.
    """
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_DEFAULT_REGION="us-east-1",
        # The embedded AWS refuses every other key: another user of the machine can connect to its
        # port, too.
        AWS_ACCESS_KEY_ID=secrets.token_hex(ACCESS_KEY_BYTES),
        AWS_SECRET_ACCESS_KEY=secrets.token_hex(SECRET_BYTES),
    )


def set_environment(keys: Mapping[str, str], **engine: str) -> None:
    """Set the variables that `shared.settings` reads.

    `engine` is PIERIA_DATA for SQLite, or AWS_ENDPOINT_URL, which botocore reads.
    """
    for name in ("PIERIA_SIGNING_KEYS_PARAMETER", "PIERIA_DATA"):
        os.environ.pop(name, None)
    os.environ.update(
        PIERIA_HUB_TABLE=NAMES["HubTable"],
        PIERIA_COUNTER_TABLE=NAMES["CounterTable"],
        PIERIA_BUCKET=NAMES["Bucket"],
        PIERIA_SIGNING_KEYS=json.dumps(dict(keys)),
        PIERIA_PUSH_TO_CREATE="on",
        # Requests cost nothing on this machine.
        PIERIA_LIMIT_COST_SUBJECT="0",
        PIERIA_LIMIT_COST_OWNER="0",
        PIERIA_LIMIT_COST_HUB="0",
        # The disk is the limit.
        PIERIA_LIMIT_BYTES_OWNER="0",
        **engine,
    )
