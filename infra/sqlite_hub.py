"""A hub on one machine: rows in a SQLite file, objects in a folder.

One hub at a time serves a data folder. The commands of the operator can open it meanwhile, since
SQLite orders their writes.
"""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.types import ASGIApp

from infra import data_folder, migration
from infra.data_folder import Unable
from infra.environment import set_environment
from shared.engines import local
from shared.engines.files import FileBucket
from shared.engines.local import Engine
from shared.errors import Unavailable
from shared.objects import keys

QUARANTINE_SECONDS = 24 * 3600
"""An older upload that no push accepted is deleted, as the lifecycle rule of S3 does."""
CHECK_SECONDS = 3600


@contextmanager
def opened(folder: Path, url: str) -> Iterator[Engine]:
    """Open the folder for the hub at `url`, and set the environment to it. Raises Unable."""
    with contextlib.ExitStack() as closing:
        try:
            data_folder.make_private(folder)
            lock = data_folder.locked(folder)
            closing.callback(os.close, lock)
            data_folder.write_address(lock, url)
            migration.migrate(folder)
            signing_keys = data_folder.signing_keys(folder)
            place = folder.resolve()
            engine = local.acquire(place, signing_keys)
            closing.callback(local.release, place)
            engine.recover()
        except OSError as error:
            raise Unable(
                f"cannot use {folder} ({error}): choose another folder, {data_folder.ANOTHER}"
            ) from None
        except sqlite3.Error as error:
            raise Unable(
                f"cannot open {folder / local.FILE} ({error}): restore a copy, or choose another"
                f" folder, {data_folder.ANOTHER}"
            ) from None
        set_environment(signing_keys, PIERIA_DATA=str(place))
        yield engine


def app_on(engine: Engine) -> ASGIApp:
    """Return the app of the hub, with the presigned URLs of its objects."""
    # Late: the settings are read once, and must find the environment above.
    from infra.app import app
    from infra.signed_objects import SignedObjects

    return SignedObjects(app, engine.bucket, engine.bucket.urls)


async def delete_old_uploads(bucket: FileBucket) -> None:
    """Delete old uploads now and every hour, until this task is cancelled."""
    while True:
        with contextlib.suppress(Unavailable):
            await bucket.expire(keys.UPLOADS, time.time() - QUARANTINE_SECONDS)
        await asyncio.sleep(CHECK_SECONDS)
