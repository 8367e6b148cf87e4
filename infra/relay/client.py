"""The stock client, `muse`: its commands, run as a user runs them."""

import asyncio
import json
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from infra.relay.address import Unable

INSTALLATION = "uv tool install --python 3.14 git+https://github.com/cgcardona/muse"
SHOWN_CHARACTERS = 300


class Client:
    """The stock client on the PATH. Raises Unable if it is not installed."""

    def __init__(self) -> None:
        found = shutil.which("muse")
        if found is None:
            raise Unable(f"the Muse client is not on the PATH: install it with `{INSTALLATION}`")
        self._program = found

    async def check(self) -> None:
        """Raises Unable if `muse` is another program: PyPI has two of that name."""
        help_text = await self.run(Path.cwd(), ["plumbing", "unpack-objects", "--help"])
        if "PackBundle" not in help_text:
            raise Unable(
                f"{self._program} is not the Muse client: install it with `{INSTALLATION}`"
            )

    async def run(self, folder: Path, arguments: list[str], pieces: Iterable[bytes] = ()) -> str:
        """The output of a command in a folder, with these bytes as its input.

        Raises Unable if it fails.
        """
        # A session of its own: Ctrl-C reaches the relay, which ends the command.
        process = await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            cwd=folder,
            env=_environment(),
            stdin=PIPE if pieces else DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = await asyncio.gather(_read(process), _feed(process, pieces))
            status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if status:
            raise Unable(f"`muse {' '.join(arguments[:2])}` failed: {_last_line(output)}")
        return output

    async def unpack(self, folder: Path, pieces: Iterable[bytes]) -> dict[str, Any]:
        """Store a bundle in the repository of a folder.

        Returns how much was written. Raises Unable.
        """
        output = await self.run(folder, ["plumbing", "unpack-objects"], pieces)
        try:
            counts = json.loads(output.strip().splitlines()[-1])
        except (ValueError, IndexError):
            counts = None
        if not isinstance(counts, dict):
            raise Unable(f"`muse plumbing unpack-objects` printed no counts: {_last_line(output)}")
        return counts


async def _read(process: asyncio.subprocess.Process) -> str:
    if process.stdout:
        output = await process.stdout.read()
    else:
        output = b""
    return output.decode(errors="replace")


async def _feed(process: asyncio.subprocess.Process, pieces: Iterable[bytes]) -> None:
    if process.stdin is None:
        return
    try:
        for piece in pieces:
            process.stdin.write(piece)
            await process.stdin.drain()
        process.stdin.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the status of the command states the failure


def _environment() -> dict[str, str]:
    """The environment of a command: nothing in it names another repository, or has a token of the
    relay.
    """
    dropped = ("MUSE_REPO_ROOT", "PIERIA_TOKEN")
    return {name: value for name, value in os.environ.items() if name not in dropped}


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if lines:
        return lines[-1][:SHOWN_CHARACTERS]
    return "it printed nothing"
