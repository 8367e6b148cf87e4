"""`pieria clone`: a working copy of any size, by the stock client.

    muse clone                     a repository with all branches and without content, from a
                                   server of this process
    muse plumbing unpack-objects   the objects of some commits, then the commits, oldest first, in
                                   pieces of 32 MiB
    muse plumbing hash-object      an object that is too large for such a piece, or empty
    muse tag add, remote set-url   the tags of the hub, and its URL
    muse reset --hard              the files

It records the progress, so that an interrupted clone continues.
"""

import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from infra.relay.address import Address, Token, Unable
from infra.relay.bundles import Records, Snapshots
from infra.relay.client import Client
from infra.relay.downloads import is_absent
from infra.relay.hub import Ask, Hub, refusal_text
from infra.relay.plan import SLICE_BYTES, Plan, Stretch, slices
from infra.relay.progress import Progress, Transfer, size_text
from infra.relay.spool import Spool
from infra.relay.steps import Received, Refused, Steps
from infra.relay.workplace import Workplace
from shared import codec
from shared.errors import ApiError

TAGS_PAGE = 1_000


async def clone(
    url: str, address: Address, repository: str, token: Token, directory: Path, progress: Progress
) -> None:
    """Make a working copy of `/owner/slug` in a directory, or go on with one. Raises Unable."""
    client = Client()
    place = Workplace(directory)
    with place.taken():
        await client.check()
        hub = Hub(address, token, progress)
        try:
            await _Clone(url, hub, repository, client, place).run()
        except Refused as refused:
            if is_absent(refused.reply):
                raise Unable("this hub is too old for `pieria clone`: use `muse clone`") from None
            raise Unable(refusal_text(refused.reply)) from None
        except ApiError as error:
            raise Unable(error.message) from None
        finally:
            await hub.close()


class _Clone:
    """One clone in work."""

    def __init__(
        self, url: str, hub: Hub, repository: str, client: Client, place: Workplace
    ) -> None:
        self._url = url
        self._hub = hub
        self._repository = repository
        self._client = client
        self._place = place
        self._headers: CIMultiDict[str] = CIMultiDict({"Accept": codec.MSGPACK})
        self._steps = Steps(hub, repository, self._headers, Snapshots())

    async def run(self) -> None:
        """All that is still to be done."""
        if not self._place.is_whole:
            heads = await self._begun()
            await self._fill(heads)
            await self._finish_store()
            self._place.move()
        note = self._place.begun() or {}
        await self._client.run(self._place.root, ["reset", "--hard", "--force", str(note["head"])])
        self._place.finish()

    async def _begun(self) -> dict[str, str]:
        """Where the branches were when the clone began. Creates the repository if it is absent."""
        note = self._place.begun()
        if note is None:
            return await self._begin()
        if note["url"] != self._url:
            raise Unable(
                f"{self._place.directory} has an unfinished clone of {note['url']}: choose another"
                " directory"
            )
        self._place.discard_unfinished()
        return dict(note["heads"])

    async def _begin(self) -> dict[str, str]:
        reply = await self._hub.ask(Ask("GET", f"{self._repository}/refs", self._headers))
        if not reply.is_success:
            raise Refused(reply)
        refs = reply.value()
        reply.close()
        heads = refs.get("branch_heads")
        if not isinstance(heads, dict) or not heads:
            raise Unable(f"{self._url} is empty: there is nothing to clone")
        self._place.clear()
        async with _skeleton(refs) as source:
            await self._client.run(self._place.work, ["clone", source, self._place.repository.name])
        head = heads.get(refs.get("default_branch")) or next(iter(heads.values()))
        self._place.begin({"url": self._url, "head": head, "heads": heads})
        return heads

    async def _fill(self, heads: dict[str, str]) -> None:
        """Fetch and store all commits."""
        plan = Plan()
        want = sorted(set(heads.values()))
        received = Received(self._place.stored("commit"))
        try:
            async for part in self._steps.parts(want, received):
                plan.add(part)
                part.close()
            await self._store(plan)
        finally:
            plan.close()

    async def _store(self, plan: Plan) -> None:
        records = plan.commits.content.size + plan.snapshots.content.size
        sizes = [sum(stretch.objects.values()) for stretch in plan.stretches]
        with self._hub.progress.transfer(
            f"clone {self._repository.strip('/')}", records + sum(sizes)
        ) as transfer:
            for stretch in plan.stretches:
                await self._store_stretch(plan, stretch, transfer)
            self._hub.progress.say(
                f"{transfer.title}: {size_text(transfer.done)}, {plan.commits.count} commits"
            )

    async def _store_stretch(self, plan: Plan, stretch: Stretch, transfer: Transfer) -> None:
        missing = dict[str, int]()
        for object_id, size in stretch.objects.items():
            if self._place.has_object(object_id):
                transfer.add(size)
            else:
                missing[object_id] = size
        for group in slices(missing):
            await self._store_objects(group, transfer)
        await self._client.unpack(self._place.root, plan.records(stretch))
        transfer.add(stretch.commits[1] + stretch.snapshots[1])
        self._place.done(stretch.commit_ids, stretch.snapshot_ids)

    async def _store_objects(self, sizes: dict[str, int], transfer: Transfer) -> None:
        objects = Records()
        alone = list[Spool]()

        def take(object_id: str, content: Spool) -> None:
            transfer.add(content.size)
            if content.size == 0 or content.size > SLICE_BYTES:
                alone.append(content)
                return
            objects.add_pieces(codec.object_start(object_id, content.size), content.pieces())
            content.close()

        try:
            await self._steps.contents(sizes, take)
            await self._unpack_objects(objects)
            for content in alone:
                await self._hash_object(content)
        finally:
            for content in [*alone, objects.content]:
                content.close()

    async def _unpack_objects(self, objects: Records) -> None:
        if not objects.count:
            return
        counts = await self._client.unpack(self._place.root, _objects_bundle(objects))
        stored = counts.get("objects_written", 0) + counts.get("objects_skipped", 0)
        if stored != objects.count:
            raise Unable(
                f"the client stored {stored} of {objects.count} objects: run the same command again"
            )

    async def _hash_object(self, content: Spool) -> None:
        """Store an object that unpack-objects does not take."""
        file = self._place.work / "object"
        with file.open("wb") as copy:
            for piece in content.pieces():
                copy.write(piece)
        await self._client.run(
            self._place.root, ["plumbing", "hash-object", "--write", str(file.resolve())]
        )
        file.unlink()

    async def _finish_store(self) -> None:
        root = self._place.root
        await self._client.run(root, ["remote", "set-url", "origin", self._url])
        listed = await self._client.run(root, ["tag", "list", "--format", "json"])
        there = _tags_of_client(listed)
        async for label, commit_id in self._tags():
            if (label, commit_id) not in there:
                await self._client.run(root, ["tag", "add", "--", label, commit_id])

    async def _tags(self) -> AsyncIterator[tuple[str, str]]:
        """The tags of the hub: label and commit id."""
        stored = set(self._place.stored("commit"))
        cursor = ""
        while True:
            path = f"{self._repository}/tags?limit={TAGS_PAGE}&cursor={cursor}"
            reply = await self._hub.ask(Ask("GET", path, self._headers))
            if is_absent(reply):
                return
            if not reply.is_success:
                raise Refused(reply)
            page: dict[str, Any] = reply.value()
            reply.close()
            for tag in page.get("tags") or ():
                if tag["commit_id"] in stored:
                    yield tag["tag"], tag["commit_id"]
            cursor = str(page.get("next_cursor") or "")
            if not cursor:
                return


def _objects_bundle(objects: Records) -> Iterator[bytes]:
    yield codec.map_start(1, {})
    yield codec.list_start("objects", objects.count)
    yield from objects.content.pieces()


def _tags_of_client(listed: str) -> set[tuple[str, str]]:
    return {(tag["tag"], tag["commit_id"]) for tag in json.loads(listed)}


@asynccontextmanager
async def _skeleton(refs: dict[str, object]) -> AsyncIterator[str]:
    """The URL of a repository with these branches and no content: the client then makes all but
    that.
    """

    async def answer(request: web.Request) -> web.Response:
        value = refs if request.method == "GET" else {}
        return web.Response(body=codec.pack_record(value), content_type=codec.MSGPACK)

    app = web.Application()
    app.router.add_get("/owner/slug/refs", answer)
    app.router.add_post("/owner/slug/fetch", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    try:
        await web.SockSite(runner, listener).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/owner/slug"
    finally:
        await runner.cleanup()
