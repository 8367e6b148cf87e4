"""The budgets of requests. The docstrings of `shared/` state them, each in this form:

    Budget: 3 AWS calls, chain of 2 (GET refs, 1,000 branches).

The text in brackets is the operation. The counts are of the whole request, with the check of the
token and the limits. The chain is the longest chain of calls that wait for each other.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHARED = Path(__file__).parent.parent / "shared"

_BUDGET = re.compile(r"Budget: (\d+) AWS calls?, chain of (\d+) \(([^)]+)\)\.")


@dataclass(frozen=True, slots=True)
class Budget:
    """The most AWS calls of an operation, and its longest chain of calls."""

    calls: int
    chain: int

    def __str__(self) -> str:
        return f"{self.calls} ({self.chain})"


def stated(docstring: str) -> dict[str, Budget]:
    """The budgets in a docstring, by operation."""
    one_line = " ".join(docstring.split())
    return {
        operation: Budget(int(calls), int(chain))
        for calls, chain, operation in _BUDGET.findall(one_line)
    }


def all_stated() -> dict[str, Budget]:
    """The budgets of all operations. Raises ValueError if two docstrings state the same one."""
    found: dict[str, Budget] = {}
    for path in sorted(SHARED.rglob("*.py")):
        for docstring in _docstrings(path):
            for operation, budget in stated(docstring).items():
                if operation in found:
                    raise ValueError(f"{path}: there is another budget for {operation!r}")
                found[operation] = budget
    return found


def table() -> str:
    """The table for the page about the architecture."""
    rows = [f"| {operation} | {budget} |\n" for operation, budget in sorted(all_stated().items())]
    return "| operation | calls (chain) |\n| --- | --- |\n" + "".join(rows)


def _docstrings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""
