"""doctor: check the resources of a hub."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import typer

from infra.cli import hub, local_checks, output, remote
from infra.cli.check import Check
from infra.cli.cli_error import CliError
from infra.cli.output import Data, Json


def doctor(json: Json = False, data: Data = None) -> None:
    """Check the resources of a hub, and show how to fix problems.

    On this machine it checks settings, database and disk. In an account it checks settings,
    credentials, tables, bucket and clock. Exit status 1 if there is a problem.
    """
    with output.failing():
        remote.refuse("it checks the tables and the bucket of the hub, which the operator can")
    found = list(_checks(data))
    failed = any(check.failed for check in found)
    if json:
        output.document({"ok": not failed, "checks": [asdict(check) for check in found]})
    else:
        for check in found:
            output.say(f"{check.state:8}{check.piece}: {check.result}")
            if check.fix:
                output.say(f"{'':8}to fix it: {check.fix}")
    raise typer.Exit(1 if failed else 0)


def _checks(data: Path | None) -> Iterator[Check]:
    piece = "hub"
    try:
        with hub.opened(data) as found:
            yield Check(piece, "ok", str(found))
            piece = "settings"
            settings = output.configured()
            keys = ", ".join(settings.signing_keys)
            where = f"in the parameter {settings.signing_keys_parameter}"
            yield Check(
                piece, "ok", f"signing keys: {f'{keys}; the last one signs' if keys else where}"
            )
            if found.folder:
                yield from local_checks.checks(found.folder)
                return
            # Late: a hub on this machine needs no package of AWS.
            from infra.cli import aws

            yield from aws.checks(settings)
    except CliError as problem:
        result, _, fix = str(problem).partition(": ")
        yield Check(piece, "failed", result, fix)
