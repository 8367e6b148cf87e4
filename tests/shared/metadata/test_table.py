"""A table in few verbs: batches, pages, conditions, and what DynamoDB leaves undone."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from shared.engines.dynamodb import ATTEMPTS, DynamoTable
from shared.errors import ApiError, Unavailable
from shared.metadata.conditions import Absent, Equals, Exists, Less, either, every
from shared.metadata.table import (
    GET_BATCH,
    PUT_BATCH,
    TRANSACTION,
    Beside,
    ConditionFailed,
    Query,
    Row,
    Table,
    Update,
    chunked,
)
from shared.stores import Stores
from tests.shared.clients import Failing, Watched, client_error

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOBODY = Absent("owner")


@pytest.fixture
def table(opened: Stores) -> Table:
    return opened.hub


def watched(table: Table) -> tuple[Table, Watched]:
    assert isinstance(table, DynamoTable)
    client: Any = Watched(table.client)
    return replace(table, client=client), client


def bare(rows: list[Row]) -> list[Row]:
    """Rows without their keys."""
    return [
        {name: value for name, value in row.items() if name not in ("pk", "sk")} for row in rows
    ]


# ── One row ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"a": ""}, id="an empty text"),
        pytest.param({"a": "häh\u2028\x00\U0001f600"}, id="any text"),
        pytest.param({"a": 0, "b": -1, "c": 2**63}, id="whole numbers"),
        pytest.param({"a": b"", "b": b"\x00\xff"}, id="bytes"),
        pytest.param({"a": [], "b": ["x", "", "x"]}, id="lists, in order"),
    ],
)
async def test_a_row_comes_back_as_it_went_in(table, repo_id, row):
    await table.put_new((repo_id, "x"), row)
    assert await table.get((repo_id, "x")) == {"pk": repo_id, "sk": "x", **row}


async def test_a_row_that_is_not_there_is_none(table, repo_id):
    assert await table.get((repo_id, "x")) is None


async def test_the_first_writer_of_a_row_wins_and_the_second_gets_that_row(table, repo_id):
    await table.put_new((repo_id, "x"), {"by": "first", "only": 1})
    with pytest.raises(ConditionFailed) as lost:
        await table.put_new((repo_id, "x"), {"by": "second"})
    assert lost.value.row == {"pk": repo_id, "sk": "x", "by": "first", "only": 1}
    assert bare([await table.get((repo_id, "x")) or {}]) == [{"by": "first", "only": 1}]


async def test_of_many_first_writers_one_is_first(table, repo_id):
    writes = [table.put_new((repo_id, "x"), {"n": n}) for n in range(8)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert results.count(None) == 1
    winner = results.index(None)
    lost = [result for result in results if isinstance(result, ConditionFailed)]
    assert [failure.current()["n"] for failure in lost] == [winner] * 7


# ── Conditions ────────────────────────────────────────────────────────────────────────────────────


async def test_an_update_sets_the_named_attributes_and_keeps_the_others(table, repo_id):
    await table.put_new((repo_id, "x"), {"a": 1, "b": 1})
    await table.update((repo_id, "x"), {"b": 2, "c": 2})
    assert bare([await table.get((repo_id, "x")) or {}]) == [{"a": 1, "b": 2, "c": 2}]


async def test_an_update_with_a_true_condition_is_made(table, repo_id):
    await table.update((repo_id, "x"), {"owner": "ada"}, NOBODY)
    condition = every(Equals("owner", "ada"), either(Absent("gone"), Less("gone", 5)))
    await table.update((repo_id, "x"), {"owner": "bob"}, condition)
    assert bare([await table.get((repo_id, "x")) or {}]) == [{"owner": "bob"}]


async def test_a_lost_update_carries_the_row_and_changes_nothing(table, repo_id):
    await table.put_new((repo_id, "x"), {"owner": "ada", "n": 7})
    with pytest.raises(ConditionFailed) as lost:
        await table.update((repo_id, "x"), {"owner": "bob"}, NOBODY)
    assert lost.value.row == {"pk": repo_id, "sk": "x", "owner": "ada", "n": 7}
    assert await table.get((repo_id, "x")) == lost.value.row


async def test_a_lost_transaction_carries_the_row_and_the_place_of_the_write_that_failed(
    table, repo_id
):
    await table.put_new((repo_id, "x"), {"owner": "ada"})
    with pytest.raises(ConditionFailed) as lost:
        await table.update_together(
            [
                Update((repo_id, "w"), {"owner": "bob"}),
                Update((repo_id, "x"), {"owner": "bob"}, NOBODY),
            ]
        )
    assert lost.value.index == 1
    assert lost.value.row == {"pk": repo_id, "sk": "x", "owner": "ada"}
    assert await table.get((repo_id, "w")) is None


async def test_an_update_lost_for_want_of_a_row_carries_none(table, repo_id):
    with pytest.raises(ConditionFailed) as lost:
        await table.update((repo_id, "x"), {"owner": "bob"}, Equals("owner", "ada"))
    assert lost.value.row is None
    assert await table.get((repo_id, "x")) is None


async def test_words_that_are_reserved_may_name_attributes(table, repo_id):
    await table.update((repo_id, "x"), {"name": "a", "status": 1, "at": "b"}, Absent("size"))
    assert bare([await table.get((repo_id, "x")) or {}]) == [{"name": "a", "status": 1, "at": "b"}]


# ── Many rows ─────────────────────────────────────────────────────────────────────────────────────


async def test_many_keys_are_found_in_few_calls(table, repo_id):
    keys = [(repo_id, f"{n:04}") for n in range(2 * GET_BATCH + 30)]
    await table.put([(key, {"n": n}) for n, key in enumerate(keys)])
    watching, client = watched(table)
    rows = await watching.find([*keys, *keys[:50], (repo_id, "absent")])
    assert sorted(str(row["sk"]) for row in rows) == [sk for _, sk in keys]
    assert client.calls == {"batch_get_item": 3}


async def test_no_keys_cost_no_call(table):
    watching, client = watched(table)
    assert await watching.find([]) == []
    await watching.put([])
    assert not client.calls


async def test_many_rows_are_put_in_few_calls(table, repo_id):
    watching, client = watched(table)
    await watching.put([((repo_id, f"{n:04}"), {"n": n}) for n in range(2 * PUT_BATCH + 1)])
    assert client.calls == {"batch_write_item": 3}
    assert [row["n"] for row in await table.query_all(repo_id, "")] == list(
        range(2 * PUT_BATCH + 1)
    )


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (3, [3]), (4, [3, 1]), (6, [3, 3]), (7, [3, 3, 1])]
)
async def test_runs_of_at_most_three(count, sizes):
    runs = list(chunked(range(count), 3))
    assert [len(run) for run in runs] == sizes
    assert [n for run in runs for n in run] == list(range(count))


async def test_of_many_rows_those_that_are_there_stay(table, repo_id):
    count = 2 * TRANSACTION + 1
    there = {3: "first", 150: "gone", 199: "first"}
    await table.put(
        [
            ((repo_id, f"{n:04}"), {"by": by, **({"left": 1} if by == "gone" else {})})
            for n, by in there.items()
        ]
    )
    watching, client = watched(table)
    await watching.put_all_new(
        [((repo_id, f"{n:04}"), {"by": "second"}) for n in range(count)], Exists("left")
    )
    rows = await table.query_all(repo_id, "")
    assert [row["by"] for row in rows] == [
        "first" if there.get(n) == "first" else "second" for n in range(count)
    ]
    # One more for each 100 in which some were there.
    assert client.calls == {"transact_write_items": 5}


async def test_rows_that_all_exist_take_one_transaction(table, repo_id):
    rows = [((repo_id, f"{n}"), {"by": "first"}) for n in range(3)]
    await table.put(rows)
    watching, client = watched(table)
    await watching.put_all_new(rows)
    assert client.calls == {"transact_write_items": 1}


async def test_of_rivals_for_many_rows_each_row_has_one_writer(table, repo_id):
    keys = [(repo_id, f"{n}") for n in range(20)]
    await asyncio.gather(*(table.put_all_new([(key, {"by": n}) for key in keys]) for n in range(5)))
    assert len({row["by"] for row in await table.query_all(repo_id, "")}) == 1


class Contended:
    """A DynamoDB with a conflicting transaction, until call `free_from`."""

    def __init__(self, free_from: int, reason: str) -> None:
        self.free_from, self.reason = free_from, reason
        self.sizes: list[int] = []

    async def transact_write_items(self, TransactItems: Any) -> Any:
        self.sizes.append(len(TransactItems))
        if len(self.sizes) >= self.free_from:
            return {}
        # The first is there already, the last is being written.
        codes = ["ConditionalCheckFailed", *["None"] * (len(TransactItems) - 2), self.reason]
        raise client_error(
            "TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes]
        )


def contended(free_from: int, reason: str = "TransactionConflict") -> tuple[Table, Contended]:
    client: Any = Contended(free_from, reason)
    return DynamoTable(client, "t"), client


async def test_a_transaction_with_a_conflict_is_retried_without_existing_rows(
    pauses,
):
    table, client = contended(3)
    await table.put_all_new([(("p", f"{n}"), {}) for n in range(9)])
    assert client.sizes == [9, 8, 7]
    assert len(pauses) == 2


async def test_a_transaction_that_another_is_always_in_the_way_of_is_unavailable(pauses):
    table, client = contended(1000)
    with pytest.raises(Unavailable):
        await table.put_all_new([(("p", f"{n}"), {}) for n in range(50)])
    assert len(client.sizes) == ATTEMPTS
    assert len(pauses) == ATTEMPTS - 1


async def test_a_transaction_that_can_never_be_made_is_not_tried_again(pauses):
    table, client = contended(1000, "ValidationError")
    with pytest.raises(Unavailable):
        await table.put_all_new([(("p", f"{n}"), {}) for n in range(9)])
    assert client.sizes == [9]


class Busy:
    """A DynamoDB in which another transaction always writes the same rows."""

    def __init__(self) -> None:
        self.calls = 0

    async def transact_write_items(self, TransactItems: Any) -> Any:
        self.calls += 1
        codes = ["TransactionConflict"] * len(TransactItems)
        raise client_error(
            "TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes]
        )


async def test_writes_together_pause_between_the_attempts_and_not_after_the_last_one(pauses):
    busy = Busy()
    client: Any = busy
    updates = [Update(("p", f"{n}"), {"n": n}) for n in range(2)]
    with pytest.raises(Unavailable):
        await DynamoTable(client, "t").update_together(updates)
    assert busy.calls == ATTEMPTS
    assert len(pauses) == ATTEMPTS - 1


class Stingy:
    """A DynamoDB that leaves all but the first of a batch unprocessed, and none from call
    `generous_from` on.
    """

    def __init__(self, generous_from: int) -> None:
        self.generous_from = generous_from
        self.sizes: list[int] = []
        self.taken: list[str] = []

    async def batch_get_item(self, RequestItems: Any) -> Any:
        ((name, asked),) = RequestItems.items()
        assert asked["ConsistentRead"] is True
        now, rest = self._part(asked["Keys"])
        left = {name: {"Keys": rest, "ConsistentRead": True}} if rest else {}
        return {"Responses": {name: now} if now else {}, "UnprocessedKeys": left}

    async def batch_write_item(self, RequestItems: Any) -> Any:
        ((name, asked),) = RequestItems.items()
        now, rest = self._part(asked)
        self.taken += [put["PutRequest"]["Item"]["sk"]["S"] for put in now]
        return {"UnprocessedItems": {name: rest} if rest else {}}

    def _part(self, items: list[Any]) -> tuple[list[Any], list[Any]]:
        self.sizes.append(len(items))
        if len(self.sizes) >= self.generous_from:
            return items, []
        return items[:1], items[1:]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, without waiting."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("shared.engines.dynamodb.asyncio.sleep", sleep)
    return waited


def stingy(generous_from: int) -> tuple[Table, Stingy]:
    client: Any = Stingy(generous_from)
    return DynamoTable(client, "t"), client


async def test_keys_left_unprocessed_are_asked_again(pauses):
    table, client = stingy(generous_from=4)
    rows = await table.find([("p", f"{n}") for n in range(9)])
    assert sorted(str(row["sk"]) for row in rows) == [f"{n}" for n in range(9)]
    assert client.sizes == [9, 8, 7, 6]
    assert len(pauses) == 3


async def test_rows_left_unprocessed_are_put_again(pauses):
    table, client = stingy(generous_from=3)
    await table.put([(("p", f"{n}"), {}) for n in range(5)])
    assert sorted(client.taken) == [f"{n}" for n in range(5)]
    assert client.sizes == [5, 4, 3]
    assert len(pauses) == 2


@pytest.mark.parametrize("verb", ["find", "put"])
async def test_unprocessed_keys_are_unavailable_and_never_left_out(pauses, verb):
    table, client = stingy(generous_from=10**6)
    keys = [("p", f"{n}") for n in range(20)]
    with pytest.raises(Unavailable):
        await (table.find(keys) if verb == "find" else table.put([(key, {}) for key in keys]))
    assert len(client.sizes) == ATTEMPTS
    assert len(pauses) == ATTEMPTS - 1
    assert all(0.5 * 0.025 * 2**n <= pause <= 0.025 * 2**n for n, pause in enumerate(pauses[:7]))
    assert max(pauses) <= 1.6


# ── Partitions ────────────────────────────────────────────────────────────────────────────────────


@pytest_asyncio.fixture(loop_scope="session")
async def letters(table: Table, repo_id: str) -> str:
    """A partition with the rows a1 … a3 and b1 … b3."""
    await table.put([((repo_id, sk), {}) for sk in ("b2", "a3", "a1", "b1", "a2", "b3")])
    return repo_id


@pytest.mark.parametrize(
    ("options", "expected", "last"),
    [
        pytest.param({}, "a1 a2 a3 b1 b2 b3", None, id="all in order"),
        pytest.param({"newest_first": True}, "b3 b2 b1 a3 a2 a1", None, id="backwards"),
        pytest.param({"prefix": "a"}, "a1 a2 a3", None, id="that begin so"),
        pytest.param({"between": ("a2", "b1")}, "a2 a3 b1", None, id="both ends included"),
        pytest.param({"between": ("0", "a2x")}, "a1 a2", None, id="up to between two"),
        pytest.param({"limit": 2}, "a1 a2", "a2", id="so many"),
        pytest.param({"limit": 2, "after": "a2"}, "a3 b1", "b1", id="so many more"),
        pytest.param(
            {"between": ("0", "b2"), "newest_first": True, "limit": 2},
            "b2 b1",
            "b1",
            id="backwards from",
        ),
        pytest.param({"prefix": "c"}, "", None, id="none"),
    ],
)
async def test_a_page_of_a_partition(table, letters, options, expected, last):
    page = await table.query(Query(letters, **options))
    assert [row["sk"] for row in page.rows] == expected.split()
    assert page.last == last


async def test_a_partition_of_several_megabytes_is_read_page_after_page(table, repo_id):
    keys = [(repo_id, f"{n:02}") for n in range(30)]
    for six in chunked(keys, 6):
        await table.put([(key, {"data": b"x" * 100_000}) for key in six])
    watching, client = watched(table)
    assert [row["sk"] for row in await watching.query_all(repo_id, "")] == [sk for _, sk in keys]
    assert client.calls["query"] >= 3


async def test_every_read_is_consistent(table, letters):
    watching, client = watched(table)
    await watching.get((letters, "a1"))
    await watching.query(Query(letters))
    await watching.find([(letters, "a1")])
    get, query, find = client.requests
    assert get["ConsistentRead"] is True
    assert query["ConsistentRead"] is True
    assert find["RequestItems"][table.name]["ConsistentRead"] is True


async def test_a_counter_counts_all_callers(opened, repo_id):
    counters = opened.counters.table
    rows = await asyncio.gather(
        *(counters.add((repo_id,), {"hits": 1}, 4_000_000_000) for _ in range(20))
    )
    assert sorted(int(str(row["hits"])) for row in rows) == list(range(1, 21))
    row = await counters.get((repo_id,))
    assert (row["hits"], row["expires_at"]) == (20, 4_000_000_000)


async def test_rows_of_another_table_come_in_the_same_call(opened, table, repo_id):
    await table.put([((repo_id, "a"), {"n": 1})])
    await opened.counters.table.add((repo_id,), {"spent": 7}, 4_000_000_000)
    watching, client = watched(table)
    beside = Beside(opened.counters.table, [(repo_id,), (f"{repo_id}-absent",)])
    assert [
        row["n"] for row in await watching.find_few([(repo_id, "a"), (repo_id, "absent")], beside)
    ] == [1]
    assert [row["spent"] for row in beside.rows] == [7]
    assert client.calls == {"batch_get_item": 1}
    asked = client.requests[0]["RequestItems"]
    assert {name: one["ConsistentRead"] for name, one in asked.items()} == {
        table.name: True,
        "counters": False,
    }


async def test_rows_of_another_table_are_not_waited_for(pauses):
    class Throttled:
        """A DynamoDB whose other table answers nothing."""

        async def batch_get_item(self, RequestItems: Any) -> Any:
            rows = [{**key, "n": {"N": "1"}} for key in RequestItems["t"]["Keys"]]
            return {"Responses": {"t": rows}, "UnprocessedKeys": {"other": RequestItems["other"]}}

    client: Any = Throttled()
    beside = Beside(DynamoTable(client, "other"), [("x",)])
    assert [row["n"] for row in await DynamoTable(client, "t").find_few([("p", "a")], beside)] == [
        1
    ]
    assert (beside.rows, pauses) == ([], [])


# ── Failures ──────────────────────────────────────────────────────────────────────────────────────

VERBS = {
    "get": lambda table: table.get(("p", "s")),
    "find": lambda table: table.find([("p", "s")]),
    "put": lambda table: table.put([(("p", "s"), {})]),
    "put_new": lambda table: table.put_new(("p", "s"), {}),
    "update": lambda table: table.update(("p", "s"), {"a": 1}),
    "add": lambda table: table.add(("p",), {"hits": 1}, 1),
    "query": lambda table: table.query(Query("p")),
}

FAILURES = [
    client_error("ProvisionedThroughputExceededException"),
    client_error("ThrottlingException"),
    client_error("RequestLimitExceeded"),
    client_error("InternalServerError", 500),
    client_error("ServiceUnavailable", 503),
    client_error("ResourceNotFoundException"),
    client_error("AccessDeniedException"),
    client_error("ValidationException"),
    client_error("SomethingNew"),
    EndpointConnectionError(endpoint_url="http://x"),
    ConnectTimeoutError(endpoint_url="http://x"),
    ReadTimeoutError(endpoint_url="http://x"),
    TimeoutError(),
    ConnectionResetError(),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: str(error)[:60])
@pytest.mark.parametrize("verb", VERBS)
async def test_whatever_goes_wrong_is_unavailable(verb, error):
    client: Any = Failing(error)
    with pytest.raises(Unavailable) as raised:
        await VERBS[verb](DynamoTable(client, "t"))
    assert "from AWS" not in raised.value.message


async def test_the_original_error_is_the_cause():
    error = client_error("AccessDeniedException")
    client: Any = Failing(error)
    with pytest.raises(Unavailable) as raised:
        await DynamoTable(client, "t").get(("p", "s"))
    assert raised.value.__cause__ is error


async def test_a_mistake_of_ours_is_not_taken_for_the_stores():
    client: Any = Failing(KeyError("ours"))
    with pytest.raises(KeyError):
        await DynamoTable(client, "t").get(("p", "s"))
    assert not issubclass(ConditionFailed, ApiError)
