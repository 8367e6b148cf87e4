"""Opens the two tables and the bucket: the composition root.

An AWS client belongs to the event loop it was made on, so there is one set per loop. A Lambda container
has one loop for its life, and so pays for connections once.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import aioboto3
from aiobotocore.config import AioConfig

from shared import settings as settings_module
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

CONNECTIONS = 64
"""Calls under way at once: what a large push or clone fans out to. The rest wait for a free connection."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that lasts, and the settings it was opened with."""

    settings: Settings
    repos: Repos
    refs: Refs
    commits: Commits
    index: Index
    releases: Releases
    tags: Tags
    tokens: Tokens
    handles: Handles
    counters: Counters
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
    """Give the running loop's connections back. For servers and tests that end; a Lambda is just frozen."""
    loop = asyncio.get_running_loop()
    _opened.pop(loop, None)
    if closer := _closers.pop(loop, None):
        await closer.aclose()


async def _open(settings: Settings) -> Stores:
    closer = AsyncExitStack()
    session = aioboto3.Session()
    options: dict[str, Any] = {
        "max_pool_connections": CONNECTIONS,
        "connect_timeout": 3,
        "read_timeout": 20,
        # Every write is idempotent or conditional, so botocore may repeat it.
        "retries": {"mode": "standard", "total_max_attempts": 4},
    }
    dynamodb = await closer.enter_async_context(session.client("dynamodb", config=AioConfig(**options)))
    s3 = await closer.enter_async_context(
        session.client(
            "s3",
            # Version 4: only it keeps what is signed from being changed.
            config=AioConfig(**options, signature_version="s3v4"),
        )
    )
    _closers[asyncio.get_running_loop()] = closer
    hub = Table(dynamodb, settings.hub_table)
    return Stores(
        settings=settings,
        repos=Repos(hub),
        refs=Refs(hub),
        commits=Commits(hub),
        index=Index(hub),
        releases=Releases(hub),
        tags=Tags(hub),
        tokens=Tokens(hub),
        handles=Handles(hub),
        counters=Counters(Table(dynamodb, settings.counter_table)),
        objects=ObjectStore(Bucket(s3, settings.bucket)),
        census=Census(hub),
    )
