"""A hub on an AWS that moto emulates in this process, in memory. It ends with the process."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from infra.data_folder import SECRET_BYTES
from infra.environment import NAMES, forget_users_aws, set_environment


@contextmanager
def opened() -> Iterator[Mapping[str, str]]:
    """Start an empty AWS with the tables and the bucket, and set the environment to it.

    Yields the signing keys. Raises stack.Unreadable.
    """
    forget_users_aws()
    # Late: moto opens a boto3 session on import, and must not find the user's.
    from infra import stack
    from infra.embedded_aws import EmbeddedAws

    keys = {"local": secrets.token_hex(SECRET_BYTES)}
    with EmbeddedAws() as aws:
        set_environment(keys, AWS_ENDPOINT_URL=aws.url)
        stack.create(aws.url, NAMES)
        yield keys
