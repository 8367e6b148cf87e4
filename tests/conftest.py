"""One embedded AWS and one pair of tables for the whole run, which are empty when a module begins.

Repositories are islands, so an owner of its own is all the isolation that a test needs.
"""

import asyncio
import functools
import itertools
import json
import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from botocore.loaders import create_loader

from shared import lambdas, settings
from shared.engines import selection
from tests import sqlite_engine
from tests.proof import leaks

if TYPE_CHECKING:
    from infra.embedded_aws import EmbeddedAws

pytest_plugins = ["bench.plugin", "tests.fast", "pytester"]

NAMES = {"HubTable": "hub", "CounterTable": "counters", "Bucket": "pieria-bytes"}

LONGEST_MODULES = {"test_hostile.py", "test_lint.py", "test_simulation.py", "test_wheel.py"}
"""Modules with tests that take over 10 seconds each."""

_owners = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator["EmbeddedAws"]:
    """The environment of a Lambda function, with an AWS that is nowhere else."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "PIERIA_"))]:
        del os.environ[name]
    # The embedded AWS takes the key that the environment has when it is made.
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    # Late: moto opens a boto3 session on import, and would stumble over a developer's own profile.
    from infra import stack
    from infra.embedded_aws import EmbeddedAws
    from tests.in_process_aws import called_in_process

    with EmbeddedAws() as running, pytest.MonkeyPatch.context() as patched:
        # Each thread and each command opens clients of its own; the models that botocore reads for
        # them are the same.
        patched.setattr("botocore.session.create_loader", functools.cache(create_loader))
        # Each client would read the certificates of all authorities, which takes 20 ms.
        patched.setattr("aiobotocore.httpsession.get_cert_path", _certificates)
        os.environ.update(
            AWS_ENDPOINT_URL=running.url,
            AWS_DEFAULT_REGION="us-east-1",
            AWS_EC2_METADATA_DISABLED="true",
            PIERIA_HUB_TABLE=NAMES["HubTable"],
            PIERIA_COUNTER_TABLE=NAMES["CounterTable"],
            PIERIA_BUCKET=NAMES["Bucket"],
            PIERIA_SIGNING_KEYS=json.dumps({"old": "o" * 32, "new": "n" * 32}),
            PIERIA_PUSH_TO_CREATE="on",
            PIERIA_LIMIT_COST_SUBJECT="0",
            PIERIA_LIMIT_COST_OWNER="0",
            PIERIA_LIMIT_COST_HUB="0",
            PIERIA_LOG_LEVEL="WARNING",
        )
        stack.create(running.url, NAMES)
        with ExitStack() as engine:
            engine.enter_context(called_in_process(running))
            if os.environ.get("ENGINE") == "sqlite":
                folder = tmp_path_factory.mktemp("sqlite-engine")
                engine.enter_context(sqlite_engine.selected(folder))
            yield running
        lambdas.use_own_loop()
        asyncio.get_event_loop().run_until_complete(selection.close())


@pytest.fixture(scope="module", autouse=True)
def _emptied(aws: "EmbeddedAws") -> Iterator[None]:
    """Drop the rows and objects of a module after it: some tests read the whole table."""
    yield
    from tests.in_process_aws import drop_data

    drop_data(aws)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Start one worker more than the machine has cores: many tests wait for a process to start."""
    return None if config.getoption("fast") else (os.cpu_count() or 1) + 1


def _certificates(verify: bool | str) -> str | None:
    """The file of certificates that a client trusts: none by default, only one that is named."""
    return verify if isinstance(verify, str) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first, and skip those that do not apply to the engine of `ENGINE`."""
    # All other workers would wait for a long test that is run last.
    items.sort(key=lambda item: item.path.name not in LONGEST_MODULES)
    sqlite_engine.skip_others(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """No test passes that made the hub write down a secret."""
    report = yield
    leaks.judge(report)
    return report


@pytest.fixture
def owner() -> str:
    """A handle that no other test uses."""
    return f"owner{next(_owners)}"


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Settings that differ for one test: set `PIERIA_*` on this, before the first call."""
    settings.load.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    settings.load.cache_clear()
