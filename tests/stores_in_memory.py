"""The stores of the hub on the AWS in memory, without an app: for actions and jobs that a test calls
itself.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from shared import settings
from shared.engines import items
from shared.engines.dynamodb import DynamoTable
from shared.engines.s3 import S3Bucket
from shared.keyring import Keyring, Keyrings
from shared.limits import Limits
from shared.objects.recent import Recent
from shared.signing import Keys
from shared.stores import Stores
from tests.builders import Record
from tests.proof.memory import Cloud, Effect
from tests.turns import Turns

HUB = "hub"
USUAL = Limits()


class Client:
    """The client of a service of the cloud: `put_item` is its call `PutItem`."""

    def __init__(self, cloud: Cloud, service: str) -> None:
        self._cloud = cloud
        self._service = service

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        operation = "".join(f"{word[0].upper()}{word[1:]}" for word in method.split("_"))

        async def call(**parameters: Any) -> Any:
            return await self._cloud.call(self._service, operation, parameters)

        setattr(self, method, call)
        return call


def cloud_on(turns: Turns) -> Cloud:
    """A cloud of which every call waits for its turn."""
    cloud = Cloud(clock=turns.clock)

    async def gate(effect: Effect) -> None:
        if not _reads_nothing(cloud, effect):
            await turns.turn(effect)

    cloud.gate = gate
    return cloud


def _reads_nothing(cloud: Cloud, effect: Effect) -> bool:
    """Whether this reads an empty partition of an index, which has no effect on any other call."""
    if effect.operation != "Query":
        return False
    values = effect.parameters["ExpressionAttributeValues"]
    partition = cloud.tables.get(effect.parameters["TableName"], {}).get(values[":pk"]["S"])
    return values.keys() == {":pk"} and not partition


def stores_on(cloud: Cloud, limits: Limits = USUAL) -> Stores:
    """The stores on this cloud."""
    database: Any = Client(cloud, "dynamodb")
    storage: Any = Client(cloud, "s3")
    loaded = settings.load()

    async def fetch_keys() -> Keys:
        return loaded.signing_keys

    keyring = Keyring(fetch_keys, lambda _: None)
    stores = Stores.on(
        loaded,
        Keyrings(keyring, keyring, keyring),
        DynamoTable(database, HUB),
        DynamoTable(database, "counters"),
        S3Bucket(storage, "bucket"),
    )
    # As after a cold start: only the bytes in the bucket can be read.
    return replace(stores, limits=limits, recent=Recent(0))


# ── What is stored ────────────────────────────────────────────────────────────────────────────────


def partition(cloud: Cloud, pk: str) -> dict[str, Record]:
    """The rows of a partition of the hub's table by their sort keys."""
    stored = cloud.tables.get(HUB, {}).get(pk, {})
    return {sort_key: dict(items.decode(item)) for sort_key, item in stored.items()}


def rows(cloud: Cloud, prefix: str = "") -> list[Record]:
    """The rows of the partitions of the hub's table that begin with this."""
    partitions = cloud.tables.get(HUB, {})
    found = [partition(cloud, pk) for pk in partitions if pk.startswith(prefix)]
    return [row for one in found for row in one.values()]


def change(cloud: Cloud, pk: str, sort_key: str, **attributes: Any) -> None:
    """Write attributes of a row. None removes one."""
    row = partition(cloud, pk)[sort_key] | attributes
    kept = {name: value for name, value in row.items() if value is not None}
    cloud.tables[HUB][pk][sort_key] = items.item((pk, sort_key), kept)
