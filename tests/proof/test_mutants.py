"""Each bug of `make mutants` applies to the present code, and the planting engine is exact."""

import ast

import pytest

from tests.mutants import BUGS
from tests.mutants.planting import (
    Bug,
    Change,
    always,
    bug,
    delete,
    insert_before,
    move_after,
    move_before,
    never,
    planted,
    replace,
    reword,
    without,
)
from tests.mutants.runner import ROOT

STORE = """
def store(rows, force):
    check(rows)
    if force and len(rows) > 1:  # a comment
        raise TooLarge("at most one row")
    write(rows, condition="is absent")
    for row in [row for row in rows if row.is_large]:
        log(
            'wrote', row,
        )
    return (1, 2, 3)

def load(rows):
    check(rows)
"""


def changed(*changes: Change) -> str:
    return planted(STORE, bug("", "module.py::store", *changes, by=[]))


def after(old: str, new: str) -> str:
    """The source of `STORE` with other text in it, in the form of planted code."""
    assert STORE.count(old) >= 1
    return ast.unparse(ast.parse(STORE.replace(old, new, 1)))


@pytest.mark.parametrize("one", BUGS, ids=[one.description for one in BUGS])
def test_a_bug_applies_and_its_tests_exist(one: Bug) -> None:
    source = (ROOT / one.file).read_text()
    text = planted(source, one)
    compile(text, one.file, "exec")
    assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(source))
    assert one.tests
    for test in one.tests:
        file, _, function = test.partition("[")[0].partition("::")
        source = (ROOT / file).read_text()
        assert not function or f"def {function}(" in source


def test_no_two_bugs_are_alike() -> None:
    assert len(BUGS) >= 160
    assert len({one.description for one in BUGS}) == len(BUGS)
    sources = {one.file: (ROOT / one.file).read_text() for one in BUGS}
    assert len({(one.file, planted(sources[one.file], one)) for one in BUGS}) == len(BUGS)


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        (replace("(1, 2, 3)", "rows"), "(1, 2, 3)", "rows"),
        (replace("condition='is absent'", "condition=None, now=1"), '="is absent"', "=None, now=1"),
        (never("len(rows) > 1"), "len(rows) > 1", "False"),
        (always("row.is_large"), "row.is_large", "True"),
        (without("2"), "(1, 2, 3)", "(1, 3)"),
        (without("len(rows) > 1"), "force and len(rows) > 1", "force"),
        (without("condition='is absent'"), ', condition="is absent"', ""),
        (delete("check(rows)"), "    check(rows)\n", ""),
        (delete("raise TooLarge(___)"), 'raise TooLarge("at most one row")', "pass"),
        (insert_before("return ___", "a = 1\nb = 2"), "return", "a = 1\n    b = 2\n    return"),
        (reword("at most", "at least"), "at most", "at least"),
    ],
)
def test_each_change_makes_exactly_one_difference(change: Change, old: str, new: str) -> None:
    assert changed(change) == after(old, new)


def test_a_statement_moves_before_or_after_another() -> None:
    moved = after("    check(rows)\n", "").replace("    write(", "    check(rows)\n    write(")
    assert changed(move_before("check(rows)", "write(*___)")) == moved
    assert changed(move_after("check(rows)", "if ___: ___")) == moved


def test_several_changes_make_one_bug() -> None:
    both = after("force and len(rows) > 1", "False").replace("(1, 2, 3)", "None")
    assert changed(never("force and ___"), replace("(1, 2, 3)", "None")) == both


@pytest.mark.parametrize(
    "fragment",
    [
        "log('wrote', row)",
        'log("wrote",row)',
        "log(  # why\n    'wrote',\n    row,\n)",
        "log(___, row)",
        "log(*___)",
    ],
)
def test_the_format_of_a_fragment_does_not_matter(fragment: str) -> None:
    call = "log(\n            'wrote', row,\n        )"
    assert changed(replace(fragment, "skip()")) == after(call, "skip()")


@pytest.mark.parametrize(
    "change",
    [
        delete("absent(rows)"),  # in no function
        delete("check(row)"),  # another name
        replace("log('wrote')", "None"),  # fewer arguments
        replace("write(rows)", "None"),  # fewer keyword arguments
        without("1.0"),  # another type
        never("row"),  # several times
        never("___"),
        reword("o", "0"),
    ],
)
def test_a_fragment_that_does_not_occur_exactly_once_is_refused(change: Change) -> None:
    with pytest.raises(LookupError, match="occurs"):
        changed(change)


def test_a_node_that_is_not_in_a_list_cannot_be_removed() -> None:
    with pytest.raises(LookupError, match="takes one node"):
        changed(without("force and ___"))


@pytest.mark.parametrize("place", ["module.py::absent", "module.py::store.load", "module.py"])
def test_a_fragment_is_only_looked_for_in_its_function(place: str) -> None:
    with pytest.raises(LookupError, match="occurs"):
        planted(STORE, bug("", place, delete("check(rows)"), by=[]))
