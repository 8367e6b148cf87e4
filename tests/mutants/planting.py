"""Plant a bug in a source file through its syntax tree.

A `Change` finds one node of the tree by a fragment of code, and changes it. The fragment is parsed,
and trees are compared. Line breaks, quotes and comments do not matter. In a fragment

- `___` matches any expression,
- `*___` matches the remaining arguments of a call,
- `___` as a statement matches the rest of a block.

A fragment must match exactly once in its function. Otherwise the change raises LookupError.
"""

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import Any, TypeVar

Change = Callable[[ast.AST], None]
"""Changes the tree of a function, a class or a module in place. Raises LookupError."""

T = TypeVar("T")
_ANYTHING = "___"
_NOT_COMPARED = frozenset({"ctx", "kind", "type_comment"})
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Bug:
    """A bug that a person might make, and the tests that must fail because of it."""

    description: str
    place: str
    """`folder/module.py`, `folder/module.py::function` or `folder/module.py::Class.method`."""
    changes: tuple[Change, ...]
    tests: Sequence[str]

    @property
    def file(self) -> str:
        """The path of the module, relative to the root of the project."""
        return self.place.partition("::")[0]


def bug(description: str, place: str, *changes: Change, by: Sequence[str]) -> Bug:
    """One row of a table: a bug, its place, its changes, and the tests that it is caught by."""
    return Bug(description, place, changes, by)


def planted(source: str, one: Bug) -> str:
    """Return the source of a module with the bug in it. Raises LookupError if it does not apply."""
    module = ast.parse(source)
    scope = _scope(module, one.place.partition("::")[2])
    for change in one.changes:
        change(scope)
    return ast.unparse(_Repair().visit(module))


# ── The changes ──


def replace(node: str, by: str) -> Change:
    """Replace an expression, a statement or a keyword argument by other code."""

    def change(scope: ast.AST) -> None:
        slot = _find(scope, _readings(node))
        slot.put(_nodes_like(slot.node, by))

    return change


def never(condition: str) -> Change:
    """Make a condition false."""
    return replace(condition, "False")


def always(condition: str) -> Change:
    """Make a condition true."""
    return replace(condition, "True")


def without(element: str) -> Change:
    """Remove an element of a tuple, list or set, an argument, or an operand of `and` or `or`."""
    return lambda scope: _find(scope, _readings(element)).put([])


def delete(statement: str) -> Change:
    """Remove a statement."""
    return lambda scope: _find(scope, _statements(statement)).put([])


def insert_before(statement: str, new: str) -> Change:
    """Insert statements directly before a statement."""

    def change(scope: ast.AST) -> None:
        slot = _find(scope, _statements(statement))
        slot.put([*_statements(new), slot.node])

    return change


def move_before(statement: str, other: str) -> Change:
    """Move a statement to directly before another one."""

    def change(scope: ast.AST) -> None:
        moved = _cut(scope, statement)
        target = _find(scope, _statements(other))
        target.put([moved, target.node])

    return change


def move_after(statement: str, other: str) -> Change:
    """Move a statement to directly after another one."""

    def change(scope: ast.AST) -> None:
        moved = _cut(scope, statement)
        target = _find(scope, _statements(other))
        target.put([target.node, moved])

    return change


def reword(old: str, new: str) -> Change:
    """Replace part of the text of a string literal."""

    def change(scope: ast.AST) -> None:
        slot = _only([slot for slot in _slots(scope) if old in _text(slot.node)], old)
        slot.put([ast.Constant(_text(slot.node).replace(old, new))])

    return change


# ── The nodes of a tree ──


@dataclass(frozen=True)
class _Slot:
    """The place of a node: a field of its parent, or an index of the list in that field."""

    parent: ast.AST
    field: str
    index: int | None
    node: ast.AST

    def put(self, nodes: Sequence[ast.AST]) -> None:
        """Store other nodes in this place."""
        if self.index is not None:
            getattr(self.parent, self.field)[self.index : self.index + 1] = nodes
        elif len(nodes) == 1:
            setattr(self.parent, self.field, nodes[0])
        else:
            raise LookupError(f"this place takes one node: {ast.unparse(self.node)}")


def _slots(scope: ast.AST) -> Iterator[_Slot]:
    for parent in ast.walk(scope):
        for field, value in ast.iter_fields(parent):
            children = enumerate(value) if isinstance(value, list) else [(None, value)]
            for index, child in children:
                if isinstance(child, ast.AST):
                    yield _Slot(parent, field, index, child)


def _scope(module: ast.Module, qualified_name: str) -> ast.AST:
    """The function or class of this name; the module for an empty name."""
    scope: ast.AST = module
    for name in filter(None, qualified_name.split(".")):
        definitions = [node for node in ast.walk(scope) if isinstance(node, _Definition)]
        scope = _only([node for node in definitions if node.name == name], name)
    return scope


def _find(scope: ast.AST, patterns: Sequence[ast.AST]) -> _Slot:
    """The one node that matches a pattern."""

    def is_found(slot: _Slot) -> bool:
        return any(_matches(pattern, slot.node) for pattern in patterns)

    return _only([*filter(is_found, _slots(scope))], ast.unparse(patterns[0]))


def _cut(scope: ast.AST, statement: str) -> ast.AST:
    slot = _find(scope, _statements(statement))
    slot.put([])
    return slot.node


def _only(found: Sequence[T], what: str) -> T:
    if len(found) != 1:
        raise LookupError(f"occurs {len(found)} times, not once: {what}")
    return found[0]


def _text(node: ast.AST) -> str:
    """The text of a string literal; empty for other nodes."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


# ── Fragments ──


def _statements(fragment: str) -> list[ast.stmt]:
    return ast.parse(dedent(fragment)).body


def _expressions(fragment: str) -> list[ast.expr]:
    return [ast.parse(dedent(fragment).strip(), mode="eval").body]


def _keywords(fragment: str) -> list[ast.keyword]:
    call = _expressions(f"f({fragment})")[0]
    return call.keywords if isinstance(call, ast.Call) else []


def _readings(fragment: str) -> list[ast.AST]:
    """The fragment as an expression, else as a statement, else as a keyword argument."""
    try:
        return [*_expressions(fragment)]
    except SyntaxError:
        statements = _statements(fragment)
    try:
        return [*statements, *_keywords(fragment)]
    except SyntaxError:
        return [*statements]


def _nodes_like(node: ast.AST, fragment: str) -> Sequence[ast.AST]:
    """The fragment in the form that can replace a node."""
    if isinstance(node, ast.stmt):
        return _statements(fragment)
    if isinstance(node, ast.keyword):
        return _keywords(fragment)
    return _expressions(fragment)


def _is_anything(pattern: Any) -> bool:
    return isinstance(pattern, ast.Name) and pattern.id == _ANYTHING


def _is_rest(pattern: Any) -> bool:
    """Whether a pattern is `*___`, or `___` as a statement."""
    return isinstance(pattern, ast.Starred | ast.Expr) and _is_anything(pattern.value)


def _matches(pattern: Any, node: Any) -> bool:
    """Whether a node, a list of nodes or the value of a field has the form of the pattern."""
    if _is_anything(pattern):
        return isinstance(node, ast.expr)
    if type(pattern) is not type(node):
        return False
    if isinstance(pattern, list):
        return _lists_match(pattern, node)
    if not isinstance(pattern, ast.AST):
        return bool(pattern == node)
    fields = set(pattern._fields) - _NOT_COMPARED
    if isinstance(pattern, ast.Call) and any(map(_is_rest, pattern.args)):
        fields.discard("keywords")
    return all(_matches(getattr(pattern, field), getattr(node, field)) for field in fields)


def _lists_match(patterns: list[Any], nodes: list[Any]) -> bool:
    if patterns and _is_rest(patterns[-1]):
        patterns = patterns[:-1]
        nodes = nodes[: len(patterns)]
    return len(patterns) == len(nodes) and all(map(_matches, patterns, nodes))


class _Repair(ast.NodeTransformer):
    """Make a tree valid after nodes were removed: an empty block, or `and` with one operand."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(getattr(node, "body", None), list) and not isinstance(node, ast.Module):
            node.body = node.body or [ast.Pass()]  # type: ignore[attr-defined]
        if isinstance(node, ast.BoolOp) and len(node.values) == 1:
            return node.values[0]
        return node
