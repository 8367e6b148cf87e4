"""Corrections inside moto: models that are too slow, or keep data for ever. See `infra.emulator` for the others."""

import base64
import copy
import functools
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from moto.core.common_models import BaseModel
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.s3.models import FakeKey


@functools.cache
def mend() -> None:
    """Put moto right for the whole process."""
    _forget_instances()
    _query_one_partition()
    _copy_attribute_values()
    _copy_what_a_transaction_writes()


def _forget_instances() -> None:
    """moto lists every model it ever makes, each copy of each row it answers among them, for a page we don't serve."""

    def new(cls: type[BaseModel], *_: object, **__: object) -> BaseModel:
        return object.__new__(cls)

    # Keys that nobody lists are freed when overwritten; their `__del__` would warn that nobody disposed of them.
    _replace(BaseModel, "__new__", new)
    _replace(FakeKey, "__del__", FakeKey.dispose)


def _query_one_partition() -> None:
    query = Table.query

    @functools.wraps(query)
    def of_one_partition(table: Table, hash_key: Any, *args: Any, **kwargs: Any) -> Any:
        if table.all_indexes():
            return query(table, hash_key, *args, **kwargs)
        everything = table.items
        table.items = defaultdict(dict, {hash_key: everything[hash_key]} if hash_key in everything else {})
        try:
            return query(table, hash_key, *args, **kwargs)
        finally:
            table.items = everything

    _replace(Table, "query", of_one_partition)


def _copy_attribute_values() -> None:
    structure = BaseJSONSerializer._serialize_type_structure

    @functools.wraps(structure)
    def copied(self: BaseJSONSerializer, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if shape.name == "AttributeValue":
            serialized[key] = wire_form(value)
        else:
            structure(self, serialized, value, shape, key)

    _replace(BaseJSONSerializer, "_serialize_type_structure", copied)


def _copy_what_a_transaction_writes() -> None:
    """moto copies the whole table, once for each row that is written, to put it back if one of them cannot be."""
    write = DynamoDBBackend.transact_write_items

    @functools.wraps(write)
    def copied(backend: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
        keys: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for [(_, asked)] in (item.items() for item in transact_items):
            keys[asked["TableName"]].append(asked.get("Key") or asked["Item"])
        tables = {name: backend.tables[name] for name in keys if name in backend.tables}
        try:
            for name, table in tables.items():
                vars(table)["__deepcopy__"] = functools.partial(_given, _before(table, keys[name]))
            write(backend, transact_items)
        finally:
            for table in tables.values():
                vars(table).pop("__deepcopy__", None)

    _replace(DynamoDBBackend, "transact_write_items", copied)


def _before(table: Table, keys: list[dict[str, Any]]) -> Table:
    """The table as it is, and stays so while rows of these keys are written."""
    before = copy.copy(table)
    before.items = defaultdict(dict, table.items)
    for key in keys:
        partition = DynamoType(key[table.hash_key_attr])
        rows: Any = table.items.get(partition, {})
        if not table.range_key_attr:
            before.items[partition] = copy.deepcopy(rows)
        elif (place := DynamoType(key[table.range_key_attr])) in rows:
            if before.items[partition] is rows:
                before.items[partition] = dict(rows)
            before.items[partition][place] = copy.deepcopy(rows[place])
        else:
            before.items[partition] = dict(before.items[partition])
    return before


def _given(found: Table, _: dict[int, Any]) -> Table:
    return found


def wire_form(attribute: dict[str, Any]) -> dict[str, Any]:
    """{type: value}, its bytes as base64."""
    [(kind, value)] = attribute.items()
    if kind == "B":
        return {kind: base64.b64encode(value).decode()}
    if kind == "BS":
        return {kind: [base64.b64encode(member).decode() for member in value]}
    if kind == "L":
        return {kind: [wire_form(member) for member in value]}
    if kind == "M":
        return {kind: {name: wire_form(member) for name, member in value.items()}}
    return {kind: value}


def _replace(owner: type, name: str, function: Callable[..., Any]) -> None:
    """Set a method of moto's. It must be there: a moto that renamed it must not quietly go unmended."""
    getattr(owner, name)
    setattr(owner, name, function)
