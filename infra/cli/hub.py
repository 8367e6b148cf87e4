"""Selects the hub of a command, and sets the environment to it while the command runs.

    --data FOLDER               the hub of `make serve` in that folder
    PIERIA_HUB_TABLE is set     a hub in an account, by the variables of its functions and of AWS
    neither                     the hub in .hub

A hub on this machine keeps its data in a journal that one process at a time may open. If the hub
runs, its `hub.json` has the address of its embedded AWS. Otherwise the command opens the journal
itself, and a hub cannot start meanwhile. A `hub.json` whose process does not exist, or whose AWS
does not answer, is left over from a hub that was killed.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from infra import serve, sqlite_hub
from infra.cli.cli_error import CliError
from shared import settings

FOLDER = Path(".hub")
WAIT_SECONDS = 15.0
"""The command waits this long for a folder that another command uses, or a hub that is starting."""
PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Hub:
    """The selected hub.

    `folder` is None for a hub in an account. `url` is empty unless it runs on this machine.
    """

    folder: Path | None
    url: str = ""

    def __str__(self) -> str:
        if self.folder is None:
            return (
                f"tables and bucket of the environment, {os.environ.get('PIERIA_HUB_TABLE', '')}"
                " and so on"
            )
        return f"{self.folder}, {f'running at {self.url}' if self.url else 'not running'}"


@contextmanager
def opened(data: Path | None) -> Iterator[Hub]:
    """Set the environment to the selected hub, and restore it.

    Raises CliError if the hub cannot be reached.
    """
    before = dict(os.environ)
    settings.load.cache_clear()
    try:
        if data is None and "PIERIA_HUB_TABLE" in os.environ:
            yield Hub(None)
        else:
            with _local(data or FOLDER) as hub:
                yield hub
    finally:
        os.environ.clear()
        os.environ.update(before)
        settings.load.cache_clear()


@contextmanager
def _local(folder: Path) -> Iterator[Hub]:
    if sqlite_hub.is_hub(folder):
        # Several processes may have the database open.
        try:
            sqlite_hub.set_environment(folder, serve.signing_keys(folder))
        except serve.Unable as problem:
            raise CliError(str(problem)) from None
        yield Hub(folder)
        return
    if not (folder / "journal").is_file():
        raise CliError(
            f"there is no hub in {folder}: start one with `make serve`, name its folder with"
            " --data, or set PIERIA_HUB_TABLE and the other variables of an account's hub"
        )
    until = time.monotonic() + WAIT_SECONDS
    with ExitStack() as closing:
        while True:
            url = _reach(folder)
            if url:
                yield Hub(folder, url)
                return
            try:
                closing.enter_context(serve.opened(folder))
                break
            except serve.InUse:
                if time.monotonic() > until:
                    raise CliError(
                        f"{folder} is in use by another command, or by a hub that is still"
                        " starting: try again later"
                    ) from None
            except serve.Unable as problem:
                raise CliError(str(problem)) from None
            time.sleep(PAUSE_SECONDS)
        yield Hub(folder)


def _reach(folder: Path) -> str:
    """Set the environment to the hub that runs on this folder.

    Returns its URL, empty if no hub runs.
    """
    try:
        note = json.loads((folder / serve.RUNNING).read_text())
        names = {
            "AWS_ACCESS_KEY_ID": str(note["access_key_id"]),
            "AWS_SECRET_ACCESS_KEY": str(note["secret_access_key"]),
            "AWS_DEFAULT_REGION": str(note["region"]),
            "PIERIA_HUB_TABLE": str(note["hub_table"]),
            "PIERIA_COUNTER_TABLE": str(note["counter_table"]),
            "PIERIA_BUCKET": str(note["bucket"]),
        }
        url = str(note["url"])
        port = urlsplit(str(note["aws_endpoint_url"])).port or 0
        os.kill(int(note["pid"]), 0)
        # Always 127.0.0.1: the file chooses the port, and must not send the data to another host.
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            pass
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    try:
        keys = serve.signing_keys(folder)
    except serve.Unable as problem:
        raise CliError(str(problem)) from None
    serve.forget_users_aws()
    serve.set_environment(f"http://127.0.0.1:{port}", keys)
    os.environ.update(names)
    return url
