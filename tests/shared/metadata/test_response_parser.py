"""Rows that are read our way are the rows that botocore reads."""

from dataclasses import replace
from typing import Any

import aioboto3
import pytest
from aiobotocore.parsers import AioJSONParser

from shared.engines.dynamodb import DynamoTable
from shared.metadata.conditions import Equals
from shared.metadata.table import ConditionFailed, Query, Row
from shared.stores import Stores

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROW: Row = {"text": "S", "number": 7, "bytes": b"\x00\xff SGk=", "list": ["a", ""], "empty": b""}


async def test_a_row_reads_the_same_with_botocores_own_parser(opened: Stores, repo_id: str) -> None:
    ours = opened.hub
    assert isinstance(ours, DynamoTable)
    await ours.put([((repo_id, "a"), ROW), ((repo_id, "b"), {"only": "b"})])
    async with aioboto3.Session().client("dynamodb") as client:
        stock: DynamoTable = replace(ours, client=client)
        for table in (ours, stock):
            assert (await table.get((repo_id, "a"))) == {"pk": repo_id, "sk": "a", **ROW}
            assert len(await table.find([(repo_id, "a"), (repo_id, "b"), (repo_id, "c")])) == 2
            page = await table.query(Query(repo_id, limit=1))
            assert (page.rows, page.last) == ([{"pk": repo_id, "sk": "a", **ROW}], "a")
            with pytest.raises(ConditionFailed) as lost:
                await table.put_new((repo_id, "a"), {})
            assert lost.value.row == page.rows[0]
            with pytest.raises(ConditionFailed) as lost:
                await table.update((repo_id, "a"), {"text": "T"}, Equals("number", 8))
            assert lost.value.row == page.rows[0]


async def test_a_clone_does_not_pay_for_botocores_look_at_every_type(
    opened: Stores, repo_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore has no body to parse: else the parser is useless without a sign of it."""
    looked_at: list[str] = []
    stock: Any = AioJSONParser
    original = stock._handle_structure

    def watched(parser: Any, shape: Any, value: Any) -> Any:
        looked_at.append(shape.name)
        return original(parser, shape, value)

    await opened.hub.put(
        [((repo_id, str(n)), {"text": "a", "number": 1, "bytes": b"b"}) for n in range(20)]
    )
    monkeypatch.setattr(stock, "_handle_structure", watched)
    assert len((await opened.hub.query(Query(repo_id))).rows) == 20
    assert len(await opened.hub.find([(repo_id, str(n)) for n in range(30)])) == 20
    assert await opened.hub.get((repo_id, "7"))
    assert looked_at == ["QueryOutput", "BatchGetItemOutput", "GetItemOutput"]
