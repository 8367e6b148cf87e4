"""export and import: a repository as one file."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from infra.cli import output
from infra.cli.cli_error import CliError
from infra.cli.direct import repository
from infra.cli.output import Data, Json, Name
from infra.cli.repo_changes import document
from shared.maintenance.export import export as exporting
from shared.maintenance.export_format import NotAnExport, Reader, Writer
from shared.maintenance.import_export import import_export
from shared.model import Repo
from shared.progress import OnProgress
from shared.stores import Stores


def export(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    json: Json = False,
    data: Data = None,
) -> None:
    """Write everything of a repository to a file.

    `pieria import` makes the repository again from the file, in any hub. Pushes may continue.
    """
    counts: Counter[str] = Counter()

    async def work(stores: Stores, bar: OnProgress) -> None:
        repo = await output.require(stores, name)
        with _new_file(file) as out:
            writer = Writer(out)
            await exporting(stores.of(repo), writer, output.now(), bar)
            counts.update(writer.counts)

    output.run_long(data, f"exporting {name}", work, "no file was written")
    size_bytes = file.stat().st_size
    if json:
        output.document({"repo": name, "file": str(file), "bytes": size_bytes, "entries": counts})
    else:
        output.say(f"{name} is in {file}: {output.size(size_bytes)}, {_text(counts)}")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of `pieria export`.")],
    name: Annotated[
        str,
        typer.Argument(metavar="[OWNER/SLUG]", help="The new repository. Default: as in the file."),
    ] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Make a repository from a file of `pieria export`.

    Run it again to go on with an interrupted import. The repository is private and has no branch
    until everything is written. Its members get their roles: check who has these handles here.
    """
    counts: Counter[str] = Counter()

    async def work(stores: Stores, bar: OnProgress) -> Repo:
        wanted = output.full_name(name) if name else None
        with _opened(file) as source:
            reader = Reader(source, file.stat().st_size)
            try:
                repo = await import_export(stores, reader, wanted, output.now, bar)
            except NotAnExport as problem:
                raise CliError(f"{file}: {problem}") from None
            counts.update(reader.counts)
        return repo

    left = "the written part stays, without a branch; run it again to write the rest"
    repo = output.run_long(data, f"importing {file}", work, left)
    if json:
        output.document({**document(repository(repo)), "entries": counts})
    else:
        output.say(f"imported: {repo.owner}/{repo.slug}, {repo.visibility}, {_text(counts)}")


@contextmanager
def _new_file(file: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when it is complete. Raises CliError."""
    if file.exists():
        raise CliError(f"{file} exists: name a new file, or remove this one first")
    try:
        descriptor, part = tempfile.mkstemp(".part", f"{file.name}.", file.parent)
    except OSError as error:
        raise CliError(f"cannot write {file} ({error.strerror}): name another file") from None
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(descriptor)
        Path(part).rename(file)
    except OSError as error:
        raise CliError(f"cannot write {file} ({error.strerror}): no file was written") from None
    finally:
        Path(part).unlink(missing_ok=True)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    try:
        source = file.open("rb")
    except OSError as error:
        raise CliError(f"cannot read {file} ({error.strerror}): check the name") from None
    with source:
        yield source


def _text(counts: Counter[str]) -> str:
    named = ("commit", "snapshot", "object", "branch", "tag", "release", "member")
    plurals = {"branch": "branches"}
    return ", ".join(
        f"{counts[kind]} {kind if counts[kind] == 1 else plurals.get(kind, f'{kind}s')}"
        for kind in named
    )
