"""Opens the two tables and the bucket: the composition root.

An AWS client belongs to the event loop it was made on, so there is one set per loop. A Lambda
container has one loop for its life, and so pays for connections once.
"""

import asyncio
import functools
import gc
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from botocore.exceptions import BotoCoreError, ClientError

from shared import log, meter
from shared import settings as settings_module
from shared.budget import Budget
from shared.errors import Unavailable
from shared.keyring import Keyring, Keys
from shared.metadata import replies
from shared.metadata.bundles import Bundles
from shared.metadata.census import Census
from shared.metadata.commits import Commits
from shared.metadata.counters import Counters
from shared.metadata.handles import Handles
from shared.metadata.index import Index
from shared.metadata.refs import Refs
from shared.metadata.releases import Releases
from shared.metadata.repos import Repos
from shared.metadata.table import Table
from shared.metadata.tags import Tags
from shared.metadata.tokens import Tokens
from shared.objects.bucket import Bucket
from shared.objects.store import ObjectStore
from shared.settings import Settings

if TYPE_CHECKING:
    import aioboto3

CONNECTIONS = 64
"""Calls under way at once: what a large push or clone fans out to. The rest wait for a free
connection."""
REGIONAL_HOST = {"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"}
"""botocore presigns URLs of the partition `aws` for the global host `s3.amazonaws.com`, unless the
style is set. S3 redirects (307) or refuses (400) requests to that host for buckets of other
Regions."""
HOST_OF_AN_EMULATOR = {"addressing_style": "path"}
"""An emulator has one host name: `BUCKET.localhost` does not resolve."""
KEYS_SECONDS = 8
"""How long the signing keys may take that a request cannot do without: less than the 10 s of a
short function."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that lasts, and the settings it was opened with."""

    settings: Settings
    keyring: Keyring
    repos: Repos
    refs: Refs
    bundles: Bundles
    commits: Commits
    index: Index
    releases: Releases
    tags: Tags
    tokens: Tokens
    handles: Handles
    counters: Counters
    budget: Budget
    objects: ObjectStore
    census: Census


_opened: WeakKeyDictionary[asyncio.AbstractEventLoop, Stores] = WeakKeyDictionary()
_closers: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncExitStack] = WeakKeyDictionary()


async def stores() -> Stores:
    """The running loop's stores, opened at first use."""
    loop = asyncio.get_running_loop()
    settings = settings_module.load()
    found = _opened.get(loop)
    if found is None or found.settings is not settings:
        await close()
        found = _opened[loop] = await _open(settings)
    return found


async def close() -> None:
    """Give the running loop's connections back. For servers and tests that end; a Lambda is just
    frozen.
    """
    loop = asyncio.get_running_loop()
    _opened.pop(loop, None)
    if closer := _closers.pop(loop, None):
        await closer.aclose()


@functools.cache
def _freeze() -> None:
    gc.freeze()  # what was imported by now stays for good: to look through it again and again is for nothing


async def _open(settings: Settings) -> Stores:
    # Late, here and below: a third of what a function would take to start, and not every request
    # needs it.
    import aioboto3
    from aiobotocore.config import AioConfig

    closer = AsyncExitStack()
    session = aioboto3.Session()
    options: dict[str, Any] = {
        "max_pool_connections": CONNECTIONS,
        "connect_timeout": 3,
        "read_timeout": 20,
        # Every write is idempotent or conditional, so botocore may repeat it.
        "retries": {"mode": "standard", "total_max_attempts": 4},
        # Botocore's checks of what is called how, and its own name, made anew for every call, take
        # a tenth of our time.
        "parameter_validation": False,
        "user_agent": "pieria",
    }
    dynamodb = await closer.enter_async_context(session.client("dynamodb", config=AioConfig(**options)))
    replies.install(dynamodb)

    async def open_bucket(s3_options: dict[str, str]) -> Bucket:
        # Signature version 4: with version 2, a client can change signed headers.
        config = AioConfig(**options, signature_version="s3v4", s3=s3_options)
        s3 = await closer.enter_async_context(session.client("s3", config=config))
        return Bucket(s3, settings.bucket)

    # botocore reads the endpoint from variables and from files. Only a client shows the result.
    bucket = await open_bucket(REGIONAL_HOST)
    if not bucket.is_aws:
        bucket = await open_bucket(HOST_OF_AN_EMULATOR)
    meter.watch(dynamodb)
    meter.watch(bucket.client)
    _closers[asyncio.get_running_loop()] = closer
    _freeze()
    hub = Table(dynamodb, settings.hub_table)
    counters = Counters(Table(dynamodb, settings.counter_table))
    return Stores(
        settings=settings,
        keyring=Keyring(
            read=lambda: _signing_keys(session, settings),
            tell=lambda failure: log.at(settings.log_level).error("signing keys not renewed", exc_info=failure),
        ),
        repos=Repos(hub),
        refs=Refs(hub),
        bundles=Bundles(hub),
        commits=Commits(hub),
        index=Index(hub),
        releases=Releases(hub),
        tags=Tags(hub),
        tokens=Tokens(hub),
        handles=Handles(hub),
        counters=counters,
        budget=Budget.of(settings, counters),
        objects=ObjectStore(bucket),
        census=Census(hub),
    )


async def _signing_keys(session: "aioboto3.Session", settings: Settings) -> Keys:
    """The keys of the settings, or of the parameter that they name. Raises Unavailable."""
    if settings.signing_keys:
        return settings.signing_keys
    from aiobotocore.config import AioConfig

    # Short: the request that needs them waits, and so does its caller. A client of its own, as it
    # is used once.
    config = AioConfig(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3})
    try:
        async with asyncio.timeout(KEYS_SECONDS), session.client("ssm", config=config) as ssm:
            reply = await ssm.get_parameter(Name=settings.signing_keys_parameter, WithDecryption=True)
        return settings_module.parse_keys(reply["Parameter"]["Value"])
    except (ClientError, BotoCoreError, TimeoutError, OSError, ValueError) as error:
        error.add_note(f"while the signing keys were read from the parameter {settings.signing_keys_parameter}")
        raise Unavailable() from error
