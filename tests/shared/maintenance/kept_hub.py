"""A hub on a cloud in memory whose upkeep the tests start, on a clock that they set."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from shared import ids
from shared.actions import repos
from shared.engines import selection
from shared.maintenance import fsck, upkeep
from shared.maintenance.upkeep import Ran
from shared.metadata.due import Due, Work
from shared.metadata.visits import Visit
from shared.model import RepoId
from tests import builders
from tests.builders import Record, blob
from tests.client import Answer
from tests.proof.asgi_client import Hub
from tests.proof.memory import Cloud
from tests.proof.stories import API, WIRE

HOUR = 3600
DAY = 24 * HOUR
SLICE = 900


class KeptHub(Hub):
    """A hub with users, whose calls can be counted."""

    def push(
        self, owner: str, bundle: Record, *, slug: str = "song", branch: str = "main", **more: Any
    ) -> Answer:
        """A push by the owner. `more`: `force`."""
        message = {"bundle": bundle, "branch": branch, **more}
        return self.call(f"POST {WIRE}/push", where(owner, slug), message, by=owner)

    def heads(self, owner: str, slug: str = "song") -> dict[str, str]:
        """The branches."""
        found: dict[str, str] = self.call(f"GET {WIRE}/refs", where(owner, slug), by=owner).value[
            "branch_heads"
        ]
        return found

    def clone(self, owner: str, slug: str = "song") -> tuple[Answer, int]:
        """A clone of all branches in a new container of the hub, and its number of AWS calls."""
        self.restart()
        before = self.cloud.calls
        heads = self.heads(owner, slug)
        want = {"want": [*heads.values()]}
        answer = self.call(f"POST {WIRE}/fetch", where(owner, slug), want, by=owner)
        assert answer.status == 200, answer
        return answer, self.cloud.calls - before

    def delete_repo(self, owner: str, slug: str = "song") -> None:
        """Delete a repository."""
        answer = self.call(f"DELETE /api/v1/repos/{owner}/{slug}", {}, by=owner)
        assert answer.status == 204, answer

    def undelete(self, owner: str, slug: str = "song") -> None:
        """Restore a deleted repository under its name."""

        async def undelete() -> None:
            stores = await selection.stores()
            await repos.undelete(stores, owner, slug, slug, self.now())

        self.run(undelete())

    def delete_branch(self, owner: str, branch: str, slug: str = "song") -> None:
        """Delete a branch."""
        query = f"branch={branch}"
        answer = self.call(f"DELETE {API}/branches", where(owner, slug), by=owner, query=query)
        assert answer.status == 204, answer

    def repo_id(self, owner: str, slug: str = "song") -> RepoId:
        """The id of a repository."""

        async def found() -> RepoId:
            repo = await (await selection.stores()).repos.get(owner, slug)
            assert repo
            return repo.repo_id

        return self.run(found())

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.loop.now += seconds

    def upkeep(self, left_seconds: float = SLICE) -> Ran:
        """One run of upkeep, in a process of its own."""
        return self.run(self.keep(left_seconds))

    async def keep(self, left_seconds: float = SLICE) -> Ran:
        """The same, for runs beside others."""
        stores = await selection.stores()
        return await upkeep.run(stores, self.now, self.now() + left_seconds)

    def due(self) -> list[Due]:
        """The list of due work, without checks."""
        return [one for one in self.listed() if one.work is not Work.CHECK]

    def listed(self) -> list[Due]:
        """The list of due work, with that of later days."""

        async def all_of_it() -> list[Due]:
            return await (await selection.stores()).due.all()

        return self.run(all_of_it())

    def put_due(self, *work: Work, owner: str = "ada", slug: str = "song") -> None:
        """List work as due now."""
        repo_id = self.repo_id(owner, slug)
        rows = [Due(int(self.now()), one, repo_id) for one in work]

        async def put() -> None:
            await (await selection.stores()).due.put(rows)

        self.run(put())

    def visit(self, repo_id: RepoId) -> Visit:
        """The last visit to a repository."""

        async def get() -> Visit:
            return await (await selection.stores()).visits.get(repo_id)

        return self.run(get())

    def findings(self, owner: str, slug: str = "song") -> list[str]:
        """What fsck finds."""

        async def check() -> list[str]:
            stores = await selection.stores()
            repo = await stores.repos.get(owner, slug)
            assert repo
            return [str(found) async for found in fsck.fsck(stores.of(repo))]

        return self.run(check())

    def stored_keys(self, repo_id: str) -> list[str]:
        """The keys of all versions in the bucket that belong to a repository."""
        objects = self.cloud.objects.items()
        return [key for key, versions in objects if repo_id in key and versions]

    def rows(self, repo_id: str) -> list[str]:
        """The keys of all rows of a repository."""
        return [
            f"{pk} {sk}"
            for pk, rows in self.cloud.tables["hub"].items()
            for sk in rows
            if pk.startswith(f"REPO#{repo_id}")
        ]


def where(owner: str, slug: str) -> dict[str, str]:
    """The parameters of a path."""
    return {"owner": owner, "slug": slug}


def take(files: dict[str, bytes], *parents: str, message: str = "take") -> Record:
    """A bundle of one commit on these files."""
    snapshot = builders.snapshot({name: ids.object_id(data) for name, data in files.items()})
    commit = builders.commit(message, parents, snapshot["snapshot_id"])
    return {
        "commits": [commit],
        "snapshots": [snapshot],
        "objects": [blob(data) for data in files.values()],
    }


def head(bundle: Record) -> str:
    """The id of the last commit of a bundle."""
    return str(bundle["commits"][-1]["commit_id"])


def works(due: Iterable[Due]) -> list[str]:
    """The kinds of work, sorted."""
    return sorted(one.work.value for one in due)


@contextmanager
def kept_hub(seed: int = 0) -> Iterator[KeptHub]:
    """A hub without repositories, at the beginning of a day."""
    with KeptHub(Cloud(seed), seed, epoch=1_800_057_600.0 - 1_000_000) as hub:
        yield hub


async def both(hub: KeptHub) -> list[Ran]:
    """Two runs of upkeep at once."""
    return list(await asyncio.gather(hub.keep(), hub.keep()))
