"""Selects the hub of a command, and sets the environment to it while the command runs.

    --data FOLDER               the hub of `make serve` in that folder
    PIERIA_HUB_TABLE is set     a hub in an account, by the variables of its functions and of AWS
    neither                     the hub in .hub

Several processes can open a hub on this machine, so a command works while the hub runs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra import data_folder
from infra.cli import remote
from infra.cli.cli_error import CliError
from infra.environment import set_environment
from shared import settings

FOLDER = Path(".hub")


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
    remote.refuse(
        "it reads or writes the tables and the bucket of the hub, which the API does not allow; the"
        " operator runs it with --data or with the variables of a hub in an account"
    )
    before = dict(os.environ)
    settings.load.cache_clear()
    try:
        if data is None and "PIERIA_HUB_TABLE" in os.environ:
            yield Hub(None)
        else:
            yield _local(data or FOLDER)
    finally:
        os.environ.clear()
        os.environ.update(before)
        settings.load.cache_clear()


def _local(folder: Path) -> Hub:
    """Set the environment to the hub in a folder."""
    if not data_folder.has_hub(folder):
        raise CliError(
            f"there is no hub in {folder}: start one with `make serve` or `pieria serve`, name its"
            " folder with --data, or set PIERIA_HUB_TABLE and the other variables of a hub in an"
            " account"
        )
    if not (folder / data_folder.DATABASE).is_file():
        raise CliError(
            f"an earlier version wrote {folder}: start the hub once with `make serve"
            f" DATA={folder}` or `pieria serve --data {folder}`, which migrates the data"
        )
    try:
        keys = data_folder.signing_keys(folder)
    except data_folder.Unable as problem:
        raise CliError(str(problem)) from None
    set_environment(keys, PIERIA_DATA=str(folder.resolve()))
    return Hub(folder, data_folder.address_of(folder))
