"""The selection of `make test-fast` stays fast, and names files that exist."""

import pytest

from tests import fast

SELECTED_BY_DEFAULT = """
def test_of_a_fast_module():
    pass
"""
SLOW = """
import pytest

@pytest.mark.slow
def test_that_is_marked():
    pass

def test_that_is_not():
    pass
"""


def test_each_slow_module_exists() -> None:
    assert not [name for name in fast.SLOW_MODULES if not (fast.TESTS / name).is_file()]


def test_a_new_test_is_fast_unless_it_is_marked(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmarkers = slow")
    pytester.makepyfile(test_new=SELECTED_BY_DEFAULT, test_marked=SLOW)
    result = pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "tests.fast", "--fast")
    result.assert_outcomes(passed=2, deselected=1)


def test_a_fast_test_that_takes_long_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "LIMIT_SECONDS", 0.05)
    busy = "import time\ndef test_busy():\n    end = time.process_time() + 0.1\n"
    pytester.makepyfile(busy + "    while time.process_time() < end: pass\n")
    result = pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "tests.fast", "--fast")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*mark the test with*"])
    pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "tests.fast").assert_outcomes(passed=1)
