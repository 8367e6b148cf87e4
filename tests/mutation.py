"""Each condition of a core module changed, one at a time, to see whether a test fails.

    make mutation                         every module of `TESTS`, for a night on one core
    make mutation MODULES="auth content"  these modules

cosmic-ray makes the changes in a copy of the tree and runs the tests. A change that no test notices
is printed with its diff. It is a gap in the tests, or it changes nothing that a caller can see.
`tests/mutants/` then gets the gap as a planted bug. Run by the Python of the tool's own
environment (`infra/locks/mutation.in`).
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import parso
from cosmic_ray import plugins
from cosmic_ray.commands import execute, init
from cosmic_ray.config import ConfigDict
from cosmic_ray.operators.boolean_replacer import AddNot
from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

from tests.mutants.runner import COPIED, ROOT

PYTHON = ROOT / ".venv" / "bin" / "python"
SLOWER = 4
"""How many times as long as without a change the tests may take before they count as failed."""

ACTIONS = "tests/shared/actions"
CASES = "tests/test_cases"
METADATA = "tests/shared/metadata"
SHARED = "tests/shared"

TESTS = {
    "auth": [
        f"{SHARED}/test_auth.py",
        f"{SHARED}/test_keyring.py",
        "tests/functions/test_members.py",
        f"{CASES}/test_auth.py",
    ],
    "http": [f"{SHARED}/test_http.py", f"{CASES}/test_auth.py", "tests/functions/test_repos.py"],
    "edge": [f"{SHARED}/test_http.py"],
    "cursors": [
        "tests/functions/test_commits.py",
        "tests/functions/test_visible.py",
        "tests/test_costs.py",
    ],
    "budget": ["tests/test_costs.py"],
    "keyring": [f"{SHARED}/test_keyring.py"],
    "ratelimit": [f"{SHARED}/test_ratelimit.py", f"{CASES}/test_limits.py"],
    "names": [f"{SHARED}/test_names.py"],
    "bundle": [f"{SHARED}/test_bundle.py", f"{CASES}/test_integrity.py"],
    "protocol/base": [f"{SHARED}/protocol/test_requests.py", f"{CASES}/test_bodies.py"],
    "packs": [f"{SHARED}/test_packs.py"],
    "dag": [f"{SHARED}/graph/test_dag.py"],
    "content": [f"{CASES}/test_downloads.py"],
    "objects/store": [
        f"{SHARED}/objects/test_store.py",
        f"{CASES}/test_presign.py",
        f"{CASES}/test_downloads.py",
        "tests/proof/test_damage.py",
        "tests/proof/test_pages.py",
    ],
    "engines/dynamodb": [f"{METADATA}/test_table.py"],
    "metadata/refs": [
        f"{METADATA}/test_refs.py",
        f"{ACTIONS}/test_push.py",
        f"{ACTIONS}/test_interleavings.py",
    ],
    "metadata/repos": [
        f"{METADATA}/test_repos.py",
        f"{ACTIONS}/test_interleavings.py",
        "tests/functions/test_repos.py",
        "tests/functions/test_members.py",
    ],
    "metadata/tokens": ["tests/functions/test_tokens.py"],
    "metadata/index": [f"{METADATA}/test_index.py"],
    "metadata/commits": [f"{METADATA}/test_commits.py", f"{ACTIONS}/test_damaged_rows.py"],
    "metadata/releases": [f"{ACTIONS}/test_interleavings.py", f"{CASES}/test_releases.py"],
    "actions/push": [
        f"{ACTIONS}/test_push.py",
        f"{ACTIONS}/test_interleavings.py",
        f"{CASES}/test_push.py",
        f"{CASES}/test_pointer.py",
        f"{CASES}/test_integrity.py",
    ],
    "actions/uploads": [
        f"{ACTIONS}/test_uploads.py",
        f"{CASES}/test_objects.py",
        f"{CASES}/test_filter.py",
    ],
    "actions/quarantine": [f"{CASES}/test_quarantine.py", f"{CASES}/test_presign.py"],
    "actions/visible": ["tests/functions/test_visible.py", "tests/functions/test_commits.py"],
    "actions/resolve": ["tests/functions/test_commits.py", f"{CASES}/test_downloads.py"],
    "actions/moves": ["tests/proof/test_moves.py", "tests/functions/test_branches.py"],
    "actions/expunge": ["tests/proof/test_expunge.py"],
    "actions/downloads": [f"{CASES}/test_downloads.py"],
    "actions/branches": [f"{ACTIONS}/test_interleavings.py", "tests/functions/test_branches.py"],
    "actions/releases": [f"{CASES}/test_releases.py", f"{ACTIONS}/test_interleavings.py"],
    "actions/tags": [f"{CASES}/test_tags.py"],
    "actions/fetch": [f"{CASES}/test_fetch.py", f"{ACTIONS}/test_bundles.py"],
}
"""Which tests cover a module of shared/, the quickest first."""

OPERATORS = {
    *(f"core/ReplaceComparisonOperator_{pair}" for pair in (
        "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Is_IsNot", "IsNot_Is", "In_NotIn", "NotIn_In",
    )),
    *(f"core/{name}" for name in (
        "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ExceptionReplacer",
        "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ReplaceUnaryOperator_Delete_Not",
    )),
    "guards/Never",
    "guards/Always",
}  # fmt: skip
"""Changes of conditions. The other operators of cosmic-ray change numbers and arithmetic."""


class Never(AddNot):  # type: ignore[misc]
    """A condition of an `if` or a `while` that is evaluated and never holds: the guard is gone."""

    outcome = "and False"

    def mutate(self, node: Any, index: int) -> Any:
        """The node with its condition replaced."""
        place = 2 if node.type == "test" else 1
        condition = node.children[place].get_code()
        node.children[place] = parso.parse(f" (({condition.strip()}) {self.outcome})")
        return node


class Always(Never):
    """A condition that is evaluated and always holds."""

    outcome = "or True"


GUARDS: dict[str, type[Never]] = {"Never": Never, "Always": Always}
"""Operators by name: what cosmic-ray asks of a provider."""


def copy_tree(tree: Path) -> None:
    """The data that the tests need, where a change does no harm."""
    tree.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)


def changed(module: str, folder: Path) -> Counter[str]:
    """Make every change of a module of the tree in the working directory.

    Prints those that survive.
    """
    command = [
        str(PYTHON),
        "-m",
        "pytest",
        "-x",
        "-q",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        *TESTS[module],
    ]
    started = time.monotonic()
    if subprocess.run(command, capture_output=True).returncode:
        raise SystemExit(f"the tests of {module} fail without any change: {' '.join(command)}")
    config = ConfigDict({
        "timeout": 30 + SLOWER * (time.monotonic() - started),
        "test-command": " ".join(command),
        "distributor": {"name": "local"},
    })  # fmt: skip
    with use_db(str(folder / f"{module.replace('/', '-')}.sqlite")) as session:
        path = Path("shared") / f"{module}.py"
        init([path], session, {})
        lines = path.read_text().splitlines()
        others = [
            item.job_id for item in session.work_items if not is_condition(item.mutations[0], lines)
        ]
        session.set_multiple_results(others, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))
        execute(session, config)
        return Counter(report(session.completed_work_items))


def is_condition(change: Any, lines: list[str]) -> bool:
    """Whether this change of cosmic-ray's is one of `OPERATORS`, and not in a decorator such as
    `@dataclass`.
    """
    return change.operator_name in OPERATORS and not lines[
        change.start_pos[0] - 1
    ].lstrip().startswith("@")


def report(completed: Iterable[Any]) -> Iterator[str]:
    """The outcome of each change. Prints the survivors."""
    for item, result in completed:
        if result.worker_outcome is WorkerOutcome.SKIPPED:
            continue
        if result.test_outcome is TestOutcome.SURVIVED:
            change = item.mutations[0]
            print(
                f"{change.module_path}:{change.start_pos[0]}"
                f" {change.operator_name}\n{result.diff}\n",
                flush=True,
            )
        yield str(result.test_outcome.value)


def main(modules: list[str]) -> int:
    """Each of these modules, or all. Returns 1 if a change survived."""
    if unknown := set(modules) - TESTS.keys():
        raise SystemExit(
            f"no tests are named for {', '.join(sorted(unknown))}; there are {', '.join(TESTS)}"
        )
    plugins.OPERATOR_PROVIDERS["guards"] = GUARDS
    survived = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as inside:
        tree = Path(folder) / "tree"
        copy_tree(tree)
        inside.enter_context(
            contextlib.chdir(tree)
        )  # cosmic-ray runs the tests in the working directory
        for module in modules or TESTS:
            outcomes = changed(module, Path(folder))
            survived += outcomes["survived"]
            print(
                f"{module}: {outcomes.total()} changes, {outcomes['survived']} survived", flush=True
            )
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
