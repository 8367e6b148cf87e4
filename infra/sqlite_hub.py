"""A hub on one machine without an emulated AWS: rows in a SQLite file, objects in a folder.

The folder contains `hub.sqlite`, `objects`, `lock` and `signing-keys.json`. One hub at a time may
serve it. The commands of the operator may open it meanwhile, since SQLite orders their writes.
"""

import asyncio
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from starlette.types import ASGIApp

from infra import serve
from infra.journal import JournalError, JournalInUse, locked, make_private
from shared.engines import local
from shared.engines.local import Engine
from shared.objects import keys as object_keys

QUARANTINE_SECONDS = 24 * 3600
"""An older upload that no push accepted is deleted at the next start, as by the lifecycle of S3."""


def is_hub(folder: Path) -> bool:
    """Return whether the folder has the data of such a hub."""
    return (folder / local.FILE).is_file()


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Engine, Mapping[str, str]]]:
    """Open the folder for a hub, with its signing keys, and set the environment to it.

    Raises serve.Unable.
    """
    try:
        make_private(folder)
        if (folder / "journal").is_file():
            raise serve.Unable(
                f"{folder} is a hub of the engine moto: start it with --engine moto, or choose"
                f" another folder, {serve.ANOTHER_FOLDER}"
            )
        lock = locked(folder / "lock")
    except JournalInUse as error:
        raise serve.InUse(str(error)) from None
    except JournalError as error:
        raise serve.Unable(str(error)) from None
    except OSError as error:
        raise serve.Unable(
            f"cannot use {folder} ({error}): choose another folder, {serve.ANOTHER_FOLDER}"
        ) from None
    try:
        keys = serve.signing_keys(folder)
        set_environment(folder, keys)
        place = folder.resolve()
        engine = local.acquire(place, keys)
        try:
            engine.bucket.recover()
            asyncio.run(engine.bucket.expire(object_keys.UPLOADS, time.time() - QUARANTINE_SECONDS))
            yield engine, keys
        finally:
            local.release(place)
    finally:
        os.close(lock)


def set_environment(folder: Path, keys: Mapping[str, str]) -> None:
    """Set the variables that `shared.settings` reads."""
    serve.set_environment("", keys)
    del os.environ["AWS_ENDPOINT_URL"]
    os.environ["PIERIA_DATA"] = str(folder.resolve())


def app_on(engine: Engine) -> ASGIApp:
    """Return the app of the hub, with the presigned URLs of its objects."""
    # Late: the settings are read once, and must find the environment above.
    from infra.app import app
    from infra.signed_objects import SignedObjects

    return SignedObjects(app, engine.bucket, engine.bucket.urls)
