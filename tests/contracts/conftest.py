"""A table and a bucket of each emulator, and the holes that are known in it."""

import socket
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
import pytest_asyncio
import uvicorn
from aiobotocore.config import AioConfig
from starlette.responses import PlainTextResponse

from infra import stack
from infra.cloud import servers
from infra.embedded_aws import EmbeddedAws
from infra.signed_objects import SignedObjects
from shared.engines import files, sqlite
from shared.engines.database import Database
from shared.engines.dynamodb import DynamoTable
from shared.engines.files import FileBucket
from shared.engines.s3 import S3Bucket
from shared.engines.signed_urls import SignedUrls
from shared.engines.sqlite import SqliteTable
from shared.metadata.table import Table
from shared.objects.bucket import Bucket

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_s3 import S3Client

ROWS = [
    "embedded",
    pytest.param("ministack", marks=pytest.mark.cloud),
    pytest.param("dynalite", marks=pytest.mark.cloud),
]
BYTES = ROWS[:2]
NAMES = {"HubTable": "contract-rows", "Bucket": "contract-bytes"}


class Emulators:
    """Each started when it is first asked for, and ended with the run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._urls: dict[str, str] = {}
        self.ends = ExitStack()

    def url(self, name: str) -> str:
        """Where this emulator answers, with the template's hub table and, but for dynalite, its
        bucket.
        """
        if name not in self._urls:
            url = self._urls[name] = self._start(name)
            stack.create(url, {"HubTable": NAMES["HubTable"]} if name == "dynalite" else NAMES)
        return self._urls[name]

    def _start(self, name: str) -> str:
        if name == "embedded":
            return self.ends.enter_context(EmbeddedAws()).url
        if name == "ministack":
            return self.ends.enter_context(servers.ministack(self._folder / name))
        if not servers.has_node():
            pytest.skip("dynalite needs node and npm, which are not here")
        return self.ends.enter_context(servers.dynalite(self._folder / name))


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory, aws: EmbeddedAws) -> Iterator[Emulators]:
    """After `aws`: it takes a developer's own credentials out of the environment."""
    found = Emulators(tmp_path_factory.mktemp("emulators"))
    with found.ends:
        yield found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _clients(emulators: Emulators) -> AsyncIterator[Any]:
    async with AsyncExitStack() as closer:
        opened: dict[tuple[str, str], Any] = {}

        async def client(service: Any, emulator: str) -> Any:
            if (service, emulator) not in opened:
                # As shared/engines/selection.py opens them.
                config = AioConfig(
                    max_pool_connections=64,
                    retries={"mode": "standard", "total_max_attempts": 4},
                    signature_version="s3v4" if service == "s3" else None,
                )
                opening = aioboto3.Session().client(
                    service, endpoint_url=emulators.url(emulator), config=config
                )
                opened[service, emulator] = await closer.enter_async_context(opening)
            return opened[service, emulator]

        yield client


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Database]]:
    """The database file of the SQLite engine, and its folder."""
    folder = tmp_path_factory.mktemp("sqlite")
    files.make_folders(folder)
    opened = Database(folder / "hub.sqlite", sqlite.SCHEMA + files.SCHEMA, sqlite.sweep)
    yield folder, opened
    opened.close()


@pytest.fixture(scope="session")
def signed_urls(database: tuple[Path, Database]) -> Iterator[SignedUrls]:
    """The URLs of a server that has the folder."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        urls = SignedUrls(b"s" * 32, lambda: f"http://127.0.0.1:{listener.getsockname()[1]}")
        app = SignedObjects(PlainTextResponse("", 404), FileBucket(*database, urls), urls)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield urls
        server.should_exit = True
        thread.join()


@pytest_asyncio.fixture(loop_scope="session", params=["sqlite", *ROWS])
async def table(
    request: pytest.FixtureRequest, database: tuple[Path, Database], _clients: Any
) -> Table:
    """The hub table of each engine, and of each emulator of DynamoDB."""
    _expect_holes(request)
    if request.param == "sqlite":
        return SqliteTable(database[1])
    client: DynamoDBClient = await _clients("dynamodb", request.param)
    return DynamoTable(client, NAMES["HubTable"])


@pytest_asyncio.fixture(loop_scope="session", params=ROWS)
async def dynamo(request: pytest.FixtureRequest, _clients: Any) -> DynamoTable:
    """The hub table of each emulator, for tests of the calls themselves."""
    _expect_holes(request)
    client: DynamoDBClient = await _clients("dynamodb", request.param)
    return DynamoTable(client, NAMES["HubTable"])


@pytest_asyncio.fixture(loop_scope="session", params=["files", *BYTES])
async def bucket(
    request: pytest.FixtureRequest,
    database: tuple[Path, Database],
    signed_urls: SignedUrls,
    _clients: Any,
) -> Bucket:
    """The bucket of each engine, and of each emulator of S3."""
    _expect_holes(request)
    if request.param == "files":
        return FileBucket(*database, signed_urls)
    client: S3Client = await _clients("s3", request.param)
    return S3Bucket(client, NAMES["Bucket"])


@pytest_asyncio.fixture(loop_scope="session", params=BYTES)
async def s3(request: pytest.FixtureRequest, _clients: Any) -> S3Bucket:
    """The bucket of each emulator, for tests of the calls themselves."""
    _expect_holes(request)
    client: S3Client = await _clients("s3", request.param)
    return S3Bucket(client, NAMES["Bucket"])


def _expect_holes(request: pytest.FixtureRequest) -> None:
    for hole in request.node.iter_markers("hole"):
        name, reason = hole.args
        if name == request.param:
            request.applymarker(pytest.mark.xfail(reason=f"{name} {reason}", strict=True))


@pytest.fixture
def pk() -> str:
    """A partition, or a prefix, that no other test uses."""
    return str(uuid.uuid4())
