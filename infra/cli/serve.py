"""serve: run a hub on this machine."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from infra import serve as server
from infra.cli import hub, output, remote


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port, 0 for any free one.")] = 8000,
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for all data.")] = hub.FOLDER,
    engine: Annotated[
        Literal["sqlite", "moto"],
        typer.Option(help="sqlite: files on disk; moto: an AWS in memory, for tests."),
    ] = "sqlite",
    json: Annotated[
        bool, typer.Option("--json", help="Print its address and token as one JSON document.")
    ] = False,
) -> None:
    """Run the whole hub on this machine, until Ctrl-C."""
    with output.failing():
        remote.refuse("it starts a hub on this machine")
    options = ["--host", host, "--port", str(port), "--data", str(data)]
    options += ["--engine", engine]
    if json:
        options.append("--json")
    raise typer.Exit(server.main(options))
