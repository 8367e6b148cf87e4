"""`pieria --hub URL`: each command uses the hub, or refuses the option and states the reason."""

import pytest

from infra.cli.commands import COMMANDS
from tests.infra.test_cli import pieria

OF_USERS = {"repo", "release", "domain", "token", "usage"}
"""They use the API: tests/infra/test_cli_hub.py plays them."""
TO_A_HUB = {"import-git", "mirror"}
"""They push to the hub: tests/infra/transfer has their tests."""
REFUSING = {
    "serve": "serve --port 0",
    "connect": "connect http://127.0.0.1:1",
    "clone": "clone http://127.0.0.1:1/a/b x",
    "doctor": "doctor",
    "user": "user list",
    "identity": "identity list",
    "key": "key list",
    "export": "export a/b x",
    "import": "import x a/b",
    "upkeep": "upkeep",
    "fsck": "fsck a/b",
    "gc": "gc a/b --due",
    "rebuild-index": "rebuild-index a/b",
    "expunge": "expunge a/b c",
    "purge": "purge --remove",
}
"""They need the data of the hub, or no hub. Each has one of its commands here."""


def test_every_command_is_in_one_of_the_tables() -> None:
    assert sorted([*OF_USERS, *TO_A_HUB, *REFUSING]) == sorted(COMMANDS)


@pytest.mark.parametrize(
    "command", [*REFUSING.values(), "repo bundle a/b", "repo repack a/b --fold", "usage limit a 5"]
)
def test_a_command_that_needs_the_data_refuses_a_hub_and_states_the_reason(command: str) -> None:
    ended = pieria("--hub", "http://127.0.0.1:1", *command.split())
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("pieria: this command does not work with --hub: ")
