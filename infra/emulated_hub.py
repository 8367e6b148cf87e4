"""A hub on an AWS that moto emulates, in memory.

The AWS is in the process of the hub, and ends with it. With `serve_alone` it is in a process of
its own, so that its data survives a restart of the hub.
"""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from infra.data_folder import SECRET_BYTES
from infra.environment import NAMES, forget_users_aws, set_environment

IS_RUNNING = "PIERIA_EMULATED_AWS"
"""Is set if the other variables of the environment point to an emulated AWS that runs already."""


@contextmanager
def opened() -> Iterator[Mapping[str, str]]:
    """Start an empty AWS with the tables and the bucket, and set the environment to it.

    Uses the AWS of the environment instead if IS_RUNNING is set.
    Yields the signing keys. Raises stack.Unreadable.
    """
    if IS_RUNNING in os.environ:
        yield json.loads(os.environ["PIERIA_SIGNING_KEYS"])
        return
    forget_users_aws()
    # Late: moto opens a boto3 session on import, and must not find the user's.
    from infra import stack
    from infra.embedded_aws import EmbeddedAws

    keys = {"local": secrets.token_hex(SECRET_BYTES)}
    with EmbeddedAws() as aws:
        set_environment(keys, AWS_ENDPOINT_URL=aws.url)
        stack.create(aws.url, NAMES)
        yield keys


def serve_alone(until: TextIO, announce: TextIO) -> None:
    """Start an empty AWS. Write the environment of its hubs as JSON. Stop at the end of `until`."""
    with opened():
        environment = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("AWS_", "PIERIA_"))
        }
        print(json.dumps(environment | {IS_RUNNING: "on"}), file=announce, flush=True)
        until.read()
