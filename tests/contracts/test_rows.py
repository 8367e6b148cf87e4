"""DynamoDB, as `shared/metadata` relies on it."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aioboto3
import pytest
from botocore.exceptions import ClientError

from infra import stack
from infra.cloud import servers
from shared.engines.dynamodb import DynamoTable
from shared.errors import Unavailable
from shared.metadata.conditions import NO_ROW, Absent, Equals, Exists
from shared.metadata.table import GET_BATCH, PUT_BATCH, ConditionFailed, Query, Row, Table, Update
from tests.shared.clients import Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

RIVALS = 20
ROUNDS = 5
KB = 1024


def hole(emulator: str, reason: str) -> pytest.MarkDecorator:
    """What an emulator is known to answer otherwise than DynamoDB."""
    return pytest.mark.hole(emulator, reason)


async def outcomes(rivals: Sequence[Awaitable[Any]]) -> tuple[list[int], list[ConditionFailed]]:
    """The winner of concurrent writers, and the rows that the others got."""
    ends = await asyncio.gather(*rivals, return_exceptions=True)
    lost = [end for end in ends if isinstance(end, ConditionFailed)]
    won = [place for place, end in enumerate(ends) if not isinstance(end, BaseException)]
    assert len(won) + len(lost) == len(ends), ends
    return won, lost


def watched(table: Table) -> tuple[Table, Watched]:
    assert isinstance(table, DynamoTable)
    client: Any = Watched(table.client)
    return replace(table, client=client), client


async def refused(call: Awaitable[Any]) -> str:
    """The code with which DynamoDB refuses a call."""
    with pytest.raises(ClientError) as refusal:
        await call
    return str(refusal.value.response["Error"]["Code"])


# ── One winner ────────────────────────────────────────────────────────────────────────────────────


@hole("dynalite", "does not return the row that made a condition fail")
async def test_one_of_many_rivals_creates_a_row_and_the_others_get_that_row(
    table: Table, pk: str
) -> None:
    for number in range(ROUNDS):
        key = (pk, f"{number}")
        won, lost = await outcomes([table.put_new(key, {"by": rival}) for rival in range(RIVALS)])
        winner = {"pk": pk, "sk": key[1], "by": won[0]}
        assert [failure.row for failure in lost] == [winner] * (RIVALS - 1)
        assert await table.get(key) == winner


async def test_one_of_several_writers_that_read_the_same_head_moves_it(
    table: Table, pk: str
) -> None:
    key = (pk, "head")
    await table.put_new(key, {"at": 0})
    for seen in range(ROUNDS):
        moves = [
            table.update(key, {"at": seen + 1, "by": rival}, Equals("at", seen))
            for rival in range(RIVALS)
        ]
        won, lost = await outcomes(moves)
        assert (len(won), len(lost)) == (1, RIVALS - 1)
        assert await table.get(key) == {"pk": pk, "sk": "head", "at": seen + 1, "by": won[0]}


async def test_one_of_several_writers_removes_a_row(table: Table, pk: str) -> None:
    for number in range(ROUNDS):
        key = (pk, f"{number}")
        await table.put_new(key, {"n": number})
        won, lost = await outcomes([table.delete(key, Equals("n", number)) for _ in range(RIVALS)])
        assert (len(won), len(lost)) == (1, RIVALS - 1)
        assert await table.get(key) is None


async def test_one_of_several_writers_removes_an_attribute(table: Table, pk: str) -> None:
    await table.put_new((pk, "x"), {"n": 1, "marked": 1})
    won, lost = await outcomes(
        [table.remove_attribute((pk, "x"), "marked", Equals("n", 1)) for _ in range(RIVALS)]
    )
    assert (len(won), len(lost)) == (1, RIVALS - 1)
    assert await table.get((pk, "x")) == {"pk": pk, "sk": "x", "n": 1}


async def test_every_hit_is_counted_once(table: Table, pk: str) -> None:
    rows = await asyncio.gather(
        *(table.add((pk, "hits"), {"hits": 1}, 4_000_000_000) for _ in range(100))
    )
    assert sorted(int(str(row["hits"])) for row in rows) == list(range(1, 101))


async def test_an_addition_returns_the_whole_row(table: Table, pk: str) -> None:
    await table.add((pk, "cost"), {"hits": 1}, 4_000_000_000)
    row = await table.add((pk, "cost"), {"spent": 12_345_678_901_234_567}, 4_000_000_001)
    assert row == {
        "pk": pk,
        "sk": "cost",
        "hits": 1,
        "spent": 12_345_678_901_234_567,
        "expires_at": 4_000_000_001,
    }


@pytest.mark.parametrize("verb", ["update", "remove", "drop"])
@hole("dynalite", "does not return the row that made a condition fail")
async def test_a_lost_condition_names_the_row_that_stands_there(
    table: Table, pk: str, verb: str
) -> None:
    await table.put_new((pk, "x"), {"owner": "ada", "n": 7, "marked": 1})
    calls = {
        "update": lambda: table.update((pk, "x"), {"n": 8}, Equals("owner", "bob")),
        "remove": lambda: table.delete((pk, "x"), Equals("owner", "bob")),
        "drop": lambda: table.remove_attribute((pk, "x"), "marked", Equals("owner", "bob")),
    }
    with pytest.raises(ConditionFailed) as lost:
        await calls[verb]()
    assert lost.value.row == {"pk": pk, "sk": "x", "owner": "ada", "n": 7, "marked": 1}
    assert await table.get((pk, "x")) == lost.value.row


async def test_a_condition_lost_for_want_of_a_row_names_none_and_makes_none(
    table: Table, pk: str
) -> None:
    with pytest.raises(ConditionFailed) as lost:
        await table.update((pk, "x"), {"n": 8}, Equals("owner", "bob"))
    assert lost.value.row is None
    assert await table.get((pk, "x")) is None


# ── All or none ───────────────────────────────────────────────────────────────────────────────────


@hole("dynalite", "has no transactions")
async def test_updates_together_are_all_made(table: Table, pk: str) -> None:
    await table.put([((pk, "a"), {"n": 1}), ((pk, "b"), {"n": 1})])
    same = [Update((pk, sk), {"n": 2}, Equals("n", 1)) for sk in ("a", "b")]
    await table.update_together([*same, Update((pk, "c"), {"n": 2}, Absent("n"))])
    assert [row["n"] for row in await table.query_all(pk, "")] == [2, 2, 2]


@hole("dynalite", "has no transactions")
async def test_updates_together_of_which_one_is_lost_change_nothing_and_say_which(
    table: Table, pk: str
) -> None:
    await table.put([((pk, "a"), {"n": 1}), ((pk, "b"), {"n": 5})])
    before = await table.query_all(pk, "")
    with pytest.raises(ConditionFailed) as lost:
        await table.update_together(
            [
                Update((pk, "a"), {"n": 2}, Equals("n", 1)),
                Update((pk, "new"), {"n": 2}, Absent("n")),
                Update((pk, "b"), {"n": 2}, Equals("n", 1)),
            ]
        )
    assert lost.value.index == 2
    assert lost.value.row == {"pk": pk, "sk": "b", "n": 5}
    assert await table.query_all(pk, "") == before


@hole("dynalite", "has no transactions")
@pytest.mark.parametrize(("asked", "lost"), [(1, None), (2, {"n": 1}), (None, {"n": 1})])
async def test_a_row_is_only_asked_for_its_condition_and_stays(
    table: Table, pk: str, asked: Any, lost: Any
) -> None:
    """Also without a row: the update creates none."""
    await table.put([((pk, "a"), {"n": 1})])
    condition = Equals("n", asked) if asked else NO_ROW
    updates = [
        Update((pk, "none"), {}, NO_ROW),
        Update((pk, "a"), {}, condition),
        Update((pk, "b"), {"n": 2}),
    ]
    if lost:
        with pytest.raises(ConditionFailed) as error:
            await table.update_together(updates)
        assert error.value.index == 1 and error.value.row == {"pk": pk, "sk": "a", **lost}
    else:
        await table.update_together(updates)
    assert [(row["sk"], row["n"]) for row in await table.query_all(pk, "")] == [
        ("a", 1),
        *([] if lost else [("b", 2)]),
    ]


@hole("dynalite", "has no transactions")
async def test_of_many_rows_put_at_once_those_that_are_there_stay(table: Table, pk: str) -> None:
    await table.put([((pk, "000"), {"by": "first"}), ((pk, "002"), {"by": "first", "left": 1})])
    await table.put_all_new(
        [((pk, f"{n:03}"), {"by": "second"}) for n in range(120)], Exists("left")
    )
    assert [row["by"] for row in await table.query_all(pk, "")] == ["first", *["second"] * 119]


@hole("dynalite", "has no transactions")
async def test_of_rivals_with_two_rows_each_one_leaves_both_and_the_rest_none(
    table: Table, pk: str
) -> None:
    """On AWS a rival may also be refused for the conflict itself: that is Unavailable, and just as
    clean.
    """
    claims = [
        [
            Update((pk, "prize"), {"by": rival}, Absent("by")),
            Update((pk, f"side {rival}"), {"by": rival}),
        ]
        for rival in range(RIVALS)
    ]
    ends = await asyncio.gather(
        *(table.update_together(claim) for claim in claims), return_exceptions=True
    )
    assert all(end is None or isinstance(end, ConditionFailed | Unavailable) for end in ends), ends
    winner = ends.index(None)
    assert ends.count(None) == 1
    assert {str(row["sk"]): row["by"] for row in await table.query_all(pk, "")} == {
        "prize": winner,
        f"side {winner}": winner,
    }


# ── Batches ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_largest_batches_are_taken(dynamo: DynamoTable, pk: str) -> None:
    keys = [(pk, f"{n:03}") for n in range(GET_BATCH)]
    watching, client = watched(dynamo)
    await watching.put([(key, {"n": n}) for n, key in enumerate(keys)])
    assert sorted(int(str(row["n"])) for row in await watching.find(keys)) == list(range(GET_BATCH))
    assert client.calls == {"batch_write_item": GET_BATCH // PUT_BATCH, "batch_get_item": 1}


async def find_large(table: DynamoTable, pk: str, count: int) -> int:
    """The number of calls that find this many rows of 380 kB by their keys."""
    keys = [(pk, f"{n:02}") for n in range(count)]
    await asyncio.gather(*(table.put_new(key, {"data": b"x" * 380_000}) for key in keys))
    watching, client = watched(table)
    found = await watching.find(keys)
    assert sorted((str(row["sk"]), row["data"]) for row in found) == [
        (sk, b"x" * 380_000) for _, sk in keys
    ]
    return client.calls["batch_get_item"]


@hole("ministack", "has no limit")
@hole("dynalite", "stops after 1 MB, so that 19 need more calls than we make")
async def test_a_batch_of_more_than_16_megabytes_comes_in_several_replies(
    dynamo: DynamoTable, pk: str
) -> None:
    assert await find_large(dynamo, pk, 50) > 1


async def test_a_batch_of_several_megabytes_comes_in_one_or_more_replies(
    dynamo: DynamoTable, pk: str
) -> None:
    """In seven from dynalite: the way of a real UnprocessedKeys from the wire into `find`."""
    assert await find_large(dynamo, pk, 20) >= 1


@pytest.mark.parametrize(
    ("gets", "puts"),
    [
        pytest.param(GET_BATCH + 1, 0, id="101 keys"),
        pytest.param(0, PUT_BATCH + 1, id="26 rows"),
    ],
)
async def test_a_larger_batch_is_refused(
    dynamo: DynamoTable, pk: str, gets: int, puts: int
) -> None:
    keys = [{"pk": {"S": pk}, "sk": {"S": f"{n:03}"}} for n in range(gets or puts)]
    requests: Any = {
        dynamo.name: {"Keys": keys} if gets else [{"PutRequest": {"Item": key}} for key in keys]
    }
    call = dynamo.client.batch_get_item if gets else dynamo.client.batch_write_item
    assert await refused(call(RequestItems=requests)) == "ValidationException"
    assert await dynamo.query_all(pk, "") == []


@pytest.mark.parametrize("verb", ["get", "put"])
async def test_one_key_twice_in_a_batch_is_refused(dynamo: DynamoTable, pk: str, verb: str) -> None:
    key = {"pk": {"S": pk}, "sk": {"S": "x"}}
    if verb == "get":
        call = dynamo.client.batch_get_item(RequestItems={dynamo.name: {"Keys": [key, key]}})
    else:
        put: Any = {"PutRequest": {"Item": key}}
        call = dynamo.client.batch_write_item(RequestItems={dynamo.name: [put, put]})  # type: ignore[assignment]
    assert await refused(call) == "ValidationException"


# ── Pages ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("newest_first", [False, True])
async def test_a_page_ends_after_a_megabyte_and_the_next_goes_on_from_there(
    table: Table, pk: str, newest_first: bool
) -> None:
    names = [f"{n:02}" for n in range(11)]
    await asyncio.gather(*(table.put_new((pk, name), {"data": b"x" * 300_000}) for name in names))
    pages, after = [], None
    while True:
        page = await table.query(Query(pk, newest_first=newest_first, after=after))
        pages.append([str(row["sk"]) for row in page.rows])
        if (after := page.last) is None:
            break
    assert [name for page in pages for name in page] == (names[::-1] if newest_first else names)
    assert 3 <= len(pages[0]) <= 4
    assert len(pages) <= 5


@pytest.mark.parametrize("count", [6, 7])
async def test_a_limit_cuts_pages_and_their_end_is_found(table: Table, pk: str, count: int) -> None:
    """After a last page that is full there may be one without rows."""
    names = [f"{n}" for n in range(count)]
    await table.put([((pk, name), {}) for name in names])
    found, after = [], None
    while True:
        page = await table.query(Query(pk, limit=3, after=after))
        assert len(page.rows) <= 3
        found += [row["sk"] for row in page.rows]
        if (after := page.last) is None:
            break
    assert found == names


async def test_a_page_may_have_more_rows_than_are_read_at_once(table: Table, pk: str) -> None:
    names = [f"{n:03}" for n in range(520)]
    await table.put([((pk, name), {}) for name in names])
    whole = await table.query(Query(pk))
    assert ([row["sk"] for row in whole.rows], whole.last) == (names, None)
    most = await table.query(Query(pk, limit=510, newest_first=True))
    assert ([row["sk"] for row in most.rows], most.last) == (names[:9:-1], names[10])


async def test_sort_keys_are_in_the_order_of_their_bytes(table: Table, pk: str) -> None:
    names = [
        "A",
        "B#",
        "B#1",
        "B#10",
        "B#2",
        "B-",
        "B.",
        "B/",
        "Z",
        "a",
        "a~",
        "é",
        "中",
        "\uffee",
        "\U0001f600",
    ]
    await table.put([((pk, name), {}) for name in reversed(names)])
    assert [row["sk"] for row in await table.query_all(pk, "")] == names
    assert [row["sk"] for row in await table.query_all(pk, "B#")] == ["B#", "B#1", "B#10", "B#2"]
    page = await table.query(Query(pk, between=("B#1", "B.")))
    assert [row["sk"] for row in page.rows] == ["B#1", "B#10", "B#2", "B-", "B."]


async def test_a_page_may_go_on_after_a_row_that_is_gone(table: Table, pk: str) -> None:
    await table.put([((pk, name), {}) for name in "abcd"])
    await table.delete((pk, "b"))
    assert [row["sk"] for row in (await table.query(Query(pk, after="b"))).rows] == ["c", "d"]


async def test_a_consistent_read_finds_a_row_at_once(table: Table, pk: str) -> None:
    for n in range(10):
        await table.update((pk, "x"), {"n": n})
        got, found, page = await asyncio.gather(
            table.get((pk, "x")), table.find([(pk, "x")]), table.query(Query(pk))
        )
        assert [got] == found == page.rows == [{"pk": pk, "sk": "x", "n": n}]


# ── Limits and mistakes ───────────────────────────────────────────────────────────────────────────

LARGEST = 400 * KB
"""Bytes of a row: names and values of all its attributes."""


def of_size(pk: str, size: int) -> Row:
    """Attributes that make a row under (pk, "x") exactly so large."""
    return {"data": b"x" * (size - len(f"pk{pk}skxdata"))}


@hole("embedded", "counts the rows as JSON, so that its limit is about 405,000 bytes")
async def test_a_row_may_have_400_kilobytes(table: Table, pk: str) -> None:
    await table.put_new((pk, "x"), of_size(pk, LARGEST))
    assert await table.get((pk, "x")) == {"pk": pk, "sk": "x", **of_size(pk, LARGEST)}


async def test_a_row_of_the_size_we_write_at_most_is_taken(table: Table, pk: str) -> None:
    await table.put_new((pk, "x"), of_size(pk, 395_000))
    assert await table.get((pk, "x")) == {"pk": pk, "sk": "x", **of_size(pk, 395_000)}


async def test_a_larger_row_is_refused_and_leaves_nothing(table: Table, pk: str) -> None:
    with pytest.raises(Unavailable) as refusal:
        await table.put_new((pk, "x"), of_size(pk, LARGEST + 1))
    assert "ValidationException" in str(refusal.value.__cause__)
    with pytest.raises(Unavailable):
        await table.put([((pk, "x"), of_size(pk, LARGEST + 1))])
    assert await table.get((pk, "x")) is None


async def test_a_row_cannot_grow_over_the_limit(table: Table, pk: str) -> None:
    await table.put_new((pk, "x"), {"a": b"x" * 250_000})
    with pytest.raises(Unavailable):
        await table.update((pk, "x"), {"b": b"x" * 250_000})
    assert await table.get((pk, "x")) == {"pk": pk, "sk": "x", "a": b"x" * 250_000}


@pytest.mark.parametrize(
    ("pk_bytes", "sk_bytes", "fits"), [(2048, 1024, True), (2049, 1, False), (1, 1025, False)]
)
async def test_a_key_has_at_most_2048_and_1024_bytes(
    table: Table, pk: str, pk_bytes: int, sk_bytes: int, fits: bool
) -> None:
    key = (pk.ljust(pk_bytes, "p")[:pk_bytes], "s" * sk_bytes)
    if fits:
        await table.put_new(key, {})
        assert await table.get(key) == {"pk": key[0], "sk": key[1]}
    else:
        with pytest.raises(Unavailable):
            await table.put_new(key, {})


@pytest.mark.parametrize("value", [0, -1, 2**63, 10**37], ids=str)
async def test_whole_numbers_come_back(table: Table, pk: str, value: int) -> None:
    await table.put_new((pk, "x"), {"n": value})
    assert await table.get((pk, "x")) == {"pk": pk, "sk": "x", "n": value}


MISTAKES = [
    pytest.param({"UpdateExpression": "SET name = :one"}, id="a reserved word for a name"),
    pytest.param(
        {"UpdateExpression": "SET a = :one", "ExpressionAttributeNames": {"#b": "b"}},
        id="a name that nobody uses",
    ),
    pytest.param(
        {
            "UpdateExpression": "SET a = :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}, ":two": {"N": "2"}},
        },
        id="a value that nobody uses",
    ),
    pytest.param({"UpdateExpression": "SET sk = :one"}, id="a part of the key"),
    pytest.param(
        {"UpdateExpression": "SET a = :one, a = :one"},
        id="one attribute twice",
        marks=hole("ministack", "takes the last of the two"),
    ),
    pytest.param(
        {"UpdateExpression": "SET a = :one", "ConditionExpression": "a = "},
        id="a condition that is no expression",
        marks=hole("embedded", "fails with 500: moto's parser raises"),
    ),
]
"""Expressions that DynamoDB refuses.

An emulator that takes them would let a mistake of ours pass.
"""


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_in_an_expression_is_refused(
    dynamo: DynamoTable, pk: str, mistake: dict[str, Any]
) -> None:
    values: dict[str, Any] = {"ExpressionAttributeValues": {":one": {"N": "1"}}}
    key: Any = {"pk": {"S": pk}, "sk": {"S": "x"}}
    call = dynamo.client.update_item(TableName=dynamo.name, Key=key, **(values | mistake))
    assert await refused(call) == "ValidationException"
    assert await dynamo.get((pk, "x")) is None


# ── A crash ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.cloud
@pytest.mark.skipif(
    not servers.has_node(), reason="dynalite needs node and npm, which are not here"
)
async def test_rows_outlive_the_death_of_dynalite(tmp_path: Path, pk: str) -> None:
    """As those of `make serve` do, see tests/infra.

    ministack forgets its rows, and is asked for nothing of it.
    """
    keys = [(pk, f"{n:03}") for n in range(200)]
    with servers.dynalite(tmp_path) as url:
        stack.create(url, {"HubTable": "rows"})
        async with aioboto3.Session().client("dynamodb", endpoint_url=url) as client:
            await asyncio.gather(*(DynamoTable(client, "rows").put_new(key, {}) for key in keys))
    with servers.dynalite(tmp_path) as url:  # the first was ended by SIGKILL
        async with aioboto3.Session().client("dynamodb", endpoint_url=url) as client:
            assert [
                (row["pk"], row["sk"])
                for row in await DynamoTable(client, "rows").query_all(pk, "")
            ] == keys
