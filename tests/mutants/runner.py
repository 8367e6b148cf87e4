"""Plant each bug in a copy of the tree, and run the tests that must catch it."""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.mutants import first_failure
from tests.mutants.planting import Bug, planted

ROOT = Path(__file__).parents[2]
COPIED = (
    "functions",
    "shared",
    "infra",
    "tests",
    "bench",
    "pyproject.toml",
    "template.yaml",
    "README.md",
    "CONTRIBUTING.md",
    "docs",
)
TIMEOUT_SECONDS = 900
"""A bug that makes a test loop for ever counts as caught after this time."""


def run(bugs: Sequence[Bug]) -> int:
    """Plant the bugs one after the other, and print a table. Returns the exit status."""
    started = time.monotonic()
    caught_by: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        _copy(tree, {one.file for one in bugs})
        for one in bugs:
            try:
                test = _first_catch(tree, one)
                result = test or "SURVIVED"
            except LookupError as error:
                test = ""
                result = f"OUT OF DATE: {error.args[0]}"
            caught_by.append(test)
            print(f"{one.description:80}  {result}", flush=True)
        unreliable = _failing_without_bug(tree, {test for test in caught_by if "::" in test})
    for test in sorted(unreliable):
        print(f"also fails without a bug: {test}")
    not_caught = sum(not test or test in unreliable for test in caught_by)
    seconds = time.monotonic() - started
    print(f"{len(bugs)} bugs, {len(bugs) - not_caught} caught, {not_caught} not; {seconds:.0f} s")
    return 1 if not_caught else 0


def _copy(tree: Path, changed_files: Iterable[str]) -> None:
    """Copy the project. The copy has the planted form of each changed file, but no bug.

    The tests that run without a bug then also show that the form alone makes no test fail.
    """
    tree.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    for name in changed_files:
        (tree / name).write_text(ast.unparse(ast.parse((ROOT / name).read_text())))


def _first_catch(tree: Path, one: Bug) -> str:
    """The test that catches a bug; empty if the bug survives.

    Raises LookupError if the bug does not apply, or its tests do not exist.
    """
    for test in one.tests:
        if not (tree / test.partition("::")[0]).exists():
            raise LookupError(f"there is no {test}")
    file = tree / one.file
    source = file.read_text()
    file.write_text(planted(source, one))
    try:
        return next(filter(None, (_first_failure(tree, test) for test in one.tests)), "")
    finally:
        file.write_text(source)


def _first_failure(tree: Path, *tests: str) -> str:
    """The first of these tests that fails in a tree; empty if all pass."""
    note = tree.parent / "failed"
    note.unlink(missing_ok=True)
    plugins = ["-p", "no:cacheprovider", "-p", first_failure.__name__]
    options = ["-x", "-q", "--tb=no", "--show-capture=no", *plugins]
    sizes = {"SEEDS": "200", "GC_SCHEDULES": "1000"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=tree,
            env={**os.environ, **sizes, first_failure.VARIABLE: str(note)},
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{tests[0]} does not end"
    if done.returncode == 0:
        return ""
    return note.read_text() if note.exists() else f"{tests[0]} does not start"


def _failing_without_bug(tree: Path, tests: set[str]) -> set[str]:
    """The tests that fail in a tree without a bug."""
    failing: set[str] = set()
    while tests > failing:
        failed = _first_failure(tree, *sorted(tests - failing))
        if not failed:
            break
        if failed not in tests:
            raise SystemExit(failed)
        failing.add(failed)
    return failing
