"""Measure every workload: `python -m bench [--check | --baseline] [--only NAME …] [--json]`.

Each workload runs in a process of its own, and its AWS in another one. As many run at once as there
are processors.
"""

import argparse
import faulthandler
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import baseline, report, scale
from bench.measure import Measured, measure
from bench.targets import Verdict, verdicts
from bench.workloads import WORKLOADS, Workload

ROOT = Path(__file__).parent.parent
COSTS = ROOT / "docs" / "costs.md"
SCALE = ROOT / "docs" / "scale.md"
PICTURE = ROOT / "docs" / "costs.svg"
DEADLINE_SECONDS = 1500.0
"""A workload that takes longer ends, with the traceback of every thread."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if a count is higher than the baseline, 2 if a workload failed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure the cost of each operation."
    )
    parser.add_argument(
        "--check", action="store_true", help="count the quick workloads, compare with the baseline"
    )
    parser.add_argument(
        "--baseline", action="store_true", help="accept the counts, and update docs/costs.md"
    )
    parser.add_argument(
        "--only", action="append", choices=[one.name for one in WORKLOADS], help="this workload"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--trace", action="store_true", help="print every AWS call; measures no time"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child is not None:
        return _child(options.child.split(","), timed=not options.check)

    chosen = [
        one
        for one in WORKLOADS
        if one.name in (options.only or [one.name]) and (one.quick or not options.check)
    ]
    found, failed = _measured(chosen, timed=not (options.check or options.trace))
    reached = list(verdicts({one.name: one for one in found}))
    risen = baseline.rises(found) if options.check else []
    if options.json:
        print(json.dumps([one.as_dict() for one in found], indent=1))
    elif options.trace:
        for one in found:
            print(f"\n{one.name}", *one.trace, sep="\n")
    elif not options.check:
        report.show(found, reached)
    for line in (*failed, *risen):
        print(line, file=sys.stderr)
    if options.baseline and not failed:
        _accept(found, reached)
    if options.check and not failed and not risen:
        print(f"{len(found)} operations cost as much as before, or less")
    return 2 if failed else 1 if risen else 0


def _measured(chosen: Sequence[Workload], *, timed: bool) -> tuple[list[Measured], list[str]]:
    """The measured operations in the order of the workloads, and the messages of failed
    workloads.
    """
    processors = os.cpu_count() or 1
    # A timed workload has a process of its own. Counting alone takes less time than the start of a
    # process.
    parts = (
        [[one] for one in chosen]
        if timed
        else [chosen[n :: 2 * processors] for n in range(2 * processors)]
    )
    parts = [part for part in parts if part]
    found: dict[str, list[Measured]] = {}
    failed: list[str] = []
    with ThreadPoolExecutor(processors) as threads:
        # The long ones start first, so that they do not run alone at the end.
        for names, said, problem in threads.map(
            lambda part: _run(part, timed=timed), sorted(parts, key=_is_quick)
        ):
            found |= dict(zip(names, said, strict=False))
            failed += problem
    ordered: list[Measured] = []
    for workload in chosen:
        ordered += found.get(workload.name, ())
    return ordered, failed


def _is_quick(part: Sequence[Workload]) -> bool:
    return all(workload.quick for workload in part)


def _run(
    part: Sequence[Workload], *, timed: bool
) -> tuple[list[str], list[list[Measured]], list[str]]:
    started = time.monotonic()
    names = [workload.name for workload in part]
    command = [
        sys.executable,
        "-m",
        "bench",
        "--child",
        ",".join(names),
        *([] if timed else ["--check"]),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    print(f"{time.monotonic() - started:6.1f} s  {', '.join(names)}", file=sys.stderr, flush=True)
    if done.returncode:
        return names, [], [f"{', '.join(names)} could not be measured:\n{done.stderr[-4000:]}"]
    return (
        names,
        [[Measured.from_dict(one) for one in found] for found in json.loads(done.stdout)],
        [],
    )


def _child(names: Sequence[str], *, timed: bool) -> int:
    # Late: the import opens boto3 sessions, which must use this environment.
    from bench import aws, lambdas

    faulthandler.dump_traceback_later(DEADLINE_SECONDS, exit=True)
    scenes = {one.name: one.scene for one in WORKLOADS}
    found = []
    with aws.running() as url:
        lambdas.set_environment(url)
        with lambdas.Hub() as hub:
            for number, name in enumerate(names):
                hub.slug = f"song{number:02}"
                found.append(
                    [one.as_dict() for one in measure(hub, scenes[name](hub), timed=timed)]
                )
    json.dump(found, sys.stdout)
    return 0


def _accept(found: Sequence[Measured], reached: Sequence[Verdict]) -> None:
    baseline.write(found)
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(report.picture({one.name: one for one in found}, reached))
    _put(COSTS, "bench", report.markdown(found))
    _put(SCALE, "scale", scale.markdown({one.name: one for one in found}))


def _put(page: Path, name: str, made: str) -> None:
    """Replace the text between the marks of this name on a page."""
    between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    page.write_text(between.sub(lambda marks: f"{marks[1]}{made}\n{marks[2]}", page.read_text()))


if __name__ == "__main__":
    sys.exit(main())
