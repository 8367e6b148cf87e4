"""Opens the stores on DynamoDB and S3: the two tables and the bucket."""

import asyncio
import functools
import gc
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared import log, meter, signing
from shared import settings as settings_module
from shared.engines import response_parser
from shared.engines.dynamodb import DynamoTable
from shared.engines.s3 import S3Bucket
from shared.errors import Unavailable
from shared.keyring import Keyring, Keyrings
from shared.settings import Settings
from shared.signing import Keys
from shared.stores import Stores

if TYPE_CHECKING:
    import aioboto3

CONNECTIONS = 64
"""The most concurrent calls of one client, enough for a large push or clone. Others wait."""
REGIONAL_HOST = {"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"}
"""botocore presigns URLs of the partition `aws` for the global host `s3.amazonaws.com`, unless the
style is set. S3 redirects (307) or refuses (400) requests to that host for buckets of other
Regions."""
HOST_OF_AN_EMULATOR = {"addressing_style": "path"}
"""An emulator has only one host name: `BUCKET.localhost` does not resolve."""
KEYS_SECONDS = 8
"""A read of the signing keys fails after this time, which is less than the 10 s of a short
function."""


@functools.cache
def _freeze() -> None:
    gc.freeze()  # imported objects live forever, so the garbage collector need not visit them


async def open_stores(settings: Settings, closer: AsyncExitStack) -> Stores:
    """Open the clients. `closer` closes them."""
    # Imported here and below, because it takes a third of the start-up time, and not every request
    # needs it.
    import aioboto3
    from aiobotocore.config import AioConfig

    session = aioboto3.Session()
    options: dict[str, Any] = {
        "max_pool_connections": CONNECTIONS,
        "connect_timeout": 3,
        "read_timeout": 20,
        # Every write is idempotent or conditional, so botocore may retry it.
        "retries": {"mode": "standard", "total_max_attempts": 4},
        # The validation of parameters and the building of the user agent take a tenth of our CPU
        # time.
        "parameter_validation": False,
        "user_agent": "pieria",
    }
    dynamodb = await closer.enter_async_context(
        session.client("dynamodb", config=AioConfig(**options))
    )
    response_parser.install(dynamodb)

    async def open_bucket(s3_options: dict[str, str]) -> S3Bucket:
        # Signature version 4: with version 2, a client can change signed headers.
        config = AioConfig(**options, signature_version="s3v4", s3=s3_options)
        s3 = await closer.enter_async_context(session.client("s3", config=config))
        return S3Bucket(s3, settings.bucket)

    # botocore reads the endpoint from variables and from files. Only an open client shows the
    # result.
    bucket = await open_bucket(REGIONAL_HOST)
    if not bucket.is_aws:
        bucket = await open_bucket(HOST_OF_AN_EMULATOR)
    meter.watch(dynamodb)
    meter.watch(bucket.client)
    _freeze()
    keyrings = _keyrings(session, settings)
    hub = DynamoTable(dynamodb, settings.hub_table)
    counters = DynamoTable(dynamodb, settings.counter_table)
    return Stores.on(settings, keyrings, hub, counters, bucket)


def _keyrings(session: "aioboto3.Session", settings: Settings) -> Keyrings:
    """The keys in the settings, or in the SSM parameters."""

    def log_failure(failure: Unavailable) -> None:
        log.at(settings.log_level).error("signing keys not renewed", exc_info=failure)

    async def from_settings() -> Keys:
        return settings.signing_keys

    async def verifying() -> Keys:
        return await _parameter(session, parameter, settings_module.parse_keys)

    async def private() -> Keys:
        try:
            name = signing.private_parameter(parameter)
            return await _parameter(session, name, settings_module.parse_keys)
        except Unavailable as failure:
            if not _is_absent(failure):
                raise
            keys = await verifying()
            if signing.has_public(keys):
                raise
            return keys

    clients = Keyring(functools.partial(_client_secrets, session, settings), log_failure)
    if settings.signing_keys:
        keyring = Keyring(from_settings, log_failure)
        return Keyrings(keyring, keyring, clients)
    parameter = settings.signing_keys_parameter
    return Keyrings(Keyring(verifying, log_failure), Keyring(private, log_failure), clients)


async def _client_secrets(session: "aioboto3.Session", settings: Settings) -> Keys:
    """The secrets in the settings, or in the SSM parameter. Raises Unavailable."""
    if settings.client_secrets:
        return settings.client_secrets
    parse = settings_module.parse_client_secrets
    return await _parameter(session, settings.client_secrets_parameter, parse)


async def _parameter(session: "aioboto3.Session", name: str, parse: Callable[[str], Keys]) -> Keys:
    """Read keys or secrets from an SSM parameter. Raises Unavailable."""
    from aiobotocore.config import AioConfig

    # Short timeouts, because a request waits for the keys. The client is used once and closed.
    config = AioConfig(
        connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3}
    )
    try:
        async with asyncio.timeout(KEYS_SECONDS), session.client("ssm", config=config) as ssm:
            reply = await ssm.get_parameter(Name=name, WithDecryption=True)
        return parse(reply["Parameter"]["Value"])
    except (ClientError, BotoCoreError, TimeoutError, OSError, ValueError) as error:
        error.add_note(f"while the parameter {name} was read")
        raise Unavailable() from error


def _is_absent(failure: Unavailable) -> bool:
    """Whether a read failed because the parameter does not exist."""
    cause = failure.__cause__
    return isinstance(cause, ClientError) and (
        cause.response["Error"]["Code"] == "ParameterNotFound"
    )
