"""The bugs of `make mutants` can still be planted: who moves the code that they stand in moves them
along.
"""

import ast
from typing import Any

import pytest

from tests.mutants import BUGS, ROOT, Bug, planted


@pytest.mark.parametrize("one", BUGS, ids=[one.what for one in BUGS])
def test_a_bug_can_be_planted_and_is_looked_for(one: Bug) -> None:
    text = planted((ROOT / one.file).read_text(), one)
    assert text is not None, (
        f"{one.file} does not hold, or holds twice, what the bug changes: quote it anew"
    )
    ast.parse(text)
    assert one.tests and all((ROOT / test.partition("::")[0]).exists() for test in one.tests)


def test_there_are_enough_of_them_and_no_two_alike() -> None:
    assert len(BUGS) >= 30
    assert len({one.what for one in BUGS}) == len(BUGS)


@pytest.mark.parametrize("text", ["", "a\nb\na\n"])
def test_what_is_not_there_once_is_not_planted(text: Any) -> None:
    assert planted(text, Bug("", "", (("a", "c"),), ())) is None
    assert planted("a\nb\n", Bug("", "", (("a", "c"), ("b", "d")), ())) == "c\nd\n"
