"""Repositories are born once, under a name of their owner's."""

import asyncio
import uuid
from dataclasses import replace

import pytest

from shared.actions.repos import create_if_absent
from shared.metadata import keys
from shared.metadata.repos import Repos
from shared.model import Repo, Visibility
from shared.stores import Stores

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOW = 1_800_000_000


@pytest.fixture
def repos(opened: Stores) -> Repos:
    return opened.repos


async def test_a_repository_that_is_not_there_is_none(opened, repos, owner):
    await create_if_absent(opened, Repo(owner, "song"), NOW)
    assert await repos.get(owner, "other") is None
    assert await repos.get(f"{owner}x", "song") is None


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="with defaults"),
        pytest.param(
            {
                "visibility": Visibility.PRIVATE,
                "domain": "midi",
                "default_branch": "trunk",
                "description": "häh",
            },
            id="with everything set",
        ),
    ],
)
async def test_a_born_repository_is_found_as_it_was_made(opened, repos, owner, changes):
    unborn = replace(Repo(owner, "song"), **changes)
    assert not unborn.exists
    born = await create_if_absent(opened, unborn, NOW)
    assert born == replace(
        unborn, repo_id=born.repo_id, members_generation=born.repo_id, created_at=NOW
    )
    assert str(uuid.UUID(born.repo_id)) == born.repo_id
    assert await repos.get(owner, "song") == born


async def test_a_repository_is_not_born_twice(opened, repos, owner):
    born = await create_if_absent(opened, Repo(owner, "song"), NOW)
    assert await create_if_absent(opened, born, NOW + 1) is born
    assert await create_if_absent(opened, Repo(owner, "song", description="later"), NOW + 1) == born


async def test_of_many_creators_one_wins_and_all_get_the_same(opened, repos, owner):
    born = await asyncio.gather(
        *(create_if_absent(opened, Repo(owner, "song"), NOW) for _ in range(8))
    )
    assert len({repo.repo_id for repo in born}) == 1
    assert await repos.get(owner, "song") == born[0]


async def test_a_deleted_repository_is_found_as_deleted_and_its_name_is_free(opened, repos, owner):
    born = await create_if_absent(opened, Repo(owner, "song"), NOW)
    await repos.table.update(keys.repo(owner, "song"), {"deleted_at": NOW})
    assert await repos.get(owner, "song") == replace(born, deleted=True)
    again = await repos.create(Repo(owner, "song"), NOW + 1)
    assert again.repo_id != born.repo_id
    assert await repos.get(owner, "song") == again


async def test_slugs_of_two_owners_are_apart(opened, repos, owner):
    mine = await create_if_absent(opened, Repo(owner, "song"), NOW)
    yours = await create_if_absent(opened, Repo(f"{owner}-too", "song"), NOW)
    assert mine.repo_id != yours.repo_id
