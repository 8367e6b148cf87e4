"""Shared by the tests of the core: the same examples in every run, and one set of stores for all of
them.
"""

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import settings

from infra.embedded_aws import EmbeddedAws
from shared.engines import selection
from shared.model import RepoId
from shared.stores import Stores

# Derandomized: a failure is reproducible everywhere, and no run leaves files behind.
settings.register_profile("core", max_examples=100, derandomize=True, deadline=None, database=None)
settings.load_profile("core")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _closing(aws: EmbeddedAws) -> AsyncIterator[None]:
    yield
    await selection.close()


@pytest_asyncio.fixture(loop_scope="session")
async def opened(_closing: None) -> Stores:
    """The stores of the loop that all tests of the core share."""
    return await selection.stores()


@pytest.fixture
def repo_id() -> RepoId:
    """A repository that no other test uses."""
    return RepoId(str(uuid.uuid4()))
