"""Patches of moto: models that are too slow, or that never free data. `infra.emulator` corrects
other faults of moto."""

import base64
import copy
import functools
from collections import defaultdict
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from moto.core import responses
from moto.core.common_models import BaseModel
from moto.core.serialize import BaseJSONSerializer
from moto.core.utils import method_names_from_class
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.dynamodb.parsing.ast_nodes import DepthFirstTraverser, Node  # type: ignore[attr-defined]
from moto.dynamodb.parsing.expressions import UpdateExpressionParser  # type: ignore[attr-defined]
from moto.dynamodb.parsing.validators import ActionCountValidator, OverlappingPathsValidator
from moto.s3.models import FakeKey


@functools.cache
def patch_moto() -> None:
    """Patch moto, once for the whole process."""
    _forget_instances()
    _query_one_partition()
    _scan_from_start_key()
    _copy_attribute_values()
    _copy_rows_of_transactions()
    _list_methods_once()
    _parse_update_expressions_once()
    _traverse_update_expressions_quickly()


def _forget_instances() -> None:
    """moto keeps every model instance for its dashboard, including a copy of every row that it
    returns.

    Drop them.
    """

    def new(cls: type[BaseModel], *_: object, **__: object) -> BaseModel:
        return object.__new__(cls)

    # Without that list, a key is freed when it is overwritten. Its own `__del__` would warn that it
    # is not disposed.
    _replace(BaseModel, "__new__", new)
    _replace(FakeKey, "__del__", FakeKey.dispose)


def _query_one_partition() -> None:
    """moto reads the whole table for each query. Let it see only the partition that is queried."""
    query = Table.query

    @functools.wraps(query)
    def of_one_partition(table: Table, hash_key: Any, *args: Any, **kwargs: Any) -> Any:
        if table.all_indexes():
            return query(table, hash_key, *args, **kwargs)
        everything = table.items
        table.items = defaultdict(
            dict, {hash_key: everything[hash_key]} if hash_key in everything else {}
        )
        try:
            return query(table, hash_key, *args, **kwargs)
        finally:
            table.items = everything

    _replace(Table, "query", of_one_partition)


def _scan_from_start_key() -> None:
    """moto sorts the whole table for each page of a scan, by keys that are slow to compare.

    Let it see the rows after the start key, sorted by plain strings.
    """
    scan = Table.scan

    @functools.wraps(scan)
    def from_start_key(
        table: Table, filters: Any, limit: int, start: Any, *args: Any, **options: Any
    ) -> Any:
        if {table.hash_key_type, table.range_key_type} != {"S"}:
            return scan(table, filters, limit, start, *args, **options)
        vars(table)["all_items"] = functools.partial(_rows_after, table, start)
        try:
            return scan(table, filters, limit, start, *args, **options)
        finally:
            del vars(table)["all_items"]

    _replace(Table, "scan", from_start_key)


def _rows_after(table: Table, start: dict[str, Any] | None) -> list[Item]:
    """The rows of a table whose keys are strings, in their order, without those up to `start`."""
    partitions = {partition.value: rows for partition, rows in table.items.items()}
    first_partition = ""
    first_sort_key = ""
    if start:
        first_partition = start[table.hash_key_attr]["S"]
        first_sort_key = start[str(table.range_key_attr)]["S"]
    found = []
    for name in sorted(name for name in partitions if name >= first_partition):
        if name == first_partition:
            after = first_sort_key
        else:
            after = ""
        rows = {sort_key.value: row for sort_key, row in partitions[name].items()}
        found += [rows[sort_key] for sort_key in sorted(rows) if sort_key > after]
    return found


def _copy_attribute_values() -> None:
    """moto serializes each attribute of a row by its model, which takes long.

    A row is in wire form already.
    """
    structure = BaseJSONSerializer._serialize_type_structure

    @functools.wraps(structure)
    def copied(self: BaseJSONSerializer, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if shape.name == "AttributeValue":
            serialized[key] = wire_form(value)
        else:
            structure(self, serialized, value, shape, key)

    _replace(BaseJSONSerializer, "_serialize_type_structure", copied)


def _copy_rows_of_transactions() -> None:
    """moto copies the whole table for each row of a transaction, to restore it on failure.

    Copy only its rows.
    """
    write = DynamoDBBackend.transact_write_items

    @functools.wraps(write)
    def copied(backend: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
        keys: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for item in transact_items:
            [asked] = item.values()
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
    """A copy of the table that does not change when rows with these keys are written."""
    before = copy.copy(table)
    before.items = defaultdict(dict, table.items)
    for key in keys:
        partition = DynamoType(key[table.hash_key_attr])
        rows: Any = table.items.get(partition, {})
        if not table.range_key_attr:
            before.items[partition] = copy.deepcopy(rows)
            continue
        sort_key = DynamoType(key[table.range_key_attr])
        if sort_key not in rows:
            before.items[partition] = dict(before.items[partition])
            continue
        if before.items[partition] is rows:
            before.items[partition] = dict(rows)
        before.items[partition][sort_key] = copy.deepcopy(rows[sort_key])
    return before


def _given(found: Table, _: dict[int, Any]) -> Table:
    return found


def _list_methods_once() -> None:
    """moto lists all methods of its service with `inspect` for each request."""
    found = functools.cache(method_names_from_class)
    _replace(responses, "method_names_from_class", found)


def _parse_update_expressions_once() -> None:
    """moto parses each update expression twice, and copies the tree for each validation.

    It validates and executes copies, so the parsed tree can be kept.
    """
    parsed = functools.lru_cache(UpdateExpressionParser.make)
    _replace(UpdateExpressionParser, "make", staticmethod(parsed))
    # The general way of `copy.deepcopy` takes five times as long.
    Node.__deepcopy__ = _copied_node


def _copied_node(node: Any, _: dict[int, Any]) -> Any:
    """A copy of a node and of the nodes below it. It has no parent."""
    copied = object.__new__(type(node))
    vars(copied).update(vars(node), parent=None)
    if node.children is not None:
        copied.children = [copy.deepcopy(child) for child in node.children]
    for child in copied.children or []:
        if isinstance(child, Node):
            child.parent = copied
    return copied


def _traverse_update_expressions_quickly() -> None:
    """moto asks each node for its abstract base classes, ten times for each update.

    Two of its checks search the whole tree below each node. The check of the root includes the
    others.
    """

    def traverse(traverser: Any, node: Any) -> Any:
        return _traversed(traverser, traverser._processing_map(), node, -1)

    _replace(DepthFirstTraverser, "traverse", traverse)
    _replace(ActionCountValidator, "traverse", ActionCountValidator.verify_action_counts)
    _replace(
        OverlappingPathsValidator, "traverse", OverlappingPathsValidator.check_for_overlapping_paths
    )


def _traversed(traverser: Any, processors: Mapping[type, Any], node: Any, index: int) -> Any:
    """Process the nodes below a node, then the node itself. `index` is its place in its parent."""
    node_type: Any = type(node)
    if not _is_node(node_type):
        return node
    parent = node.parent
    for child_index, child in enumerate(node.children or []):
        traverser.pre_processing_of_child(node, child_index)
        _traversed(traverser, processors, child, child_index)
    kind = _kind(node_type, tuple(processors))
    if kind is None:
        return node
    node = processors[kind](node)
    node.parent = parent
    if parent:
        parent.children[index] = node
    return node


@functools.cache
def _is_node(node_type: type) -> bool:
    return issubclass(node_type, Node)


@functools.cache
def _kind(node_type: type, kinds: tuple[type, ...]) -> type | None:
    """The first of the classes that the type is derived from."""
    return next((kind for kind in kinds if issubclass(node_type, kind)), None)


def wire_form(attribute: dict[str, Any]) -> dict[str, Any]:
    """`{type: value}`, with bytes as base64."""
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


def _replace(owner: type | ModuleType, name: str, function: Callable[..., Any]) -> None:
    """Replace a function of moto. Fails if it does not exist: moto may have renamed it."""
    getattr(owner, name)
    setattr(owner, name, function)
