"""A pytest plugin: `pytest --fast` runs the tests that take 30 seconds together on two cores.

A test belongs to them by default. Exceptions are the modules of SLOW_MODULES, which are not even
imported, and tests with the marker `slow`. A fast test that takes over LIMIT_SECONDS fails, so that
the selection stays fast.
"""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMIT_SECONDS = 2.0
"""CPU time of one fast test and of its processes. It does not depend on how busy the machine is, as
wall-clock time does. The slowest fast tests take 0.7 s.
"""

TESTS = Path(__file__).parent

SLOW_MODULES = frozenset(
    """
    bench/test_bill.py bench/test_compare.py bench/test_lambdas.py bench/test_load.py
    contracts/test_bytes.py contracts/test_rows.py
    functions/test_branches.py functions/test_commits.py functions/test_exchange.py
    functions/test_members.py functions/test_openapi.py functions/test_portable_names.py
    functions/test_repos.py functions/test_sign_in.py functions/test_visible.py
    identity/test_provider.py
    infra/relay/test_clone.py infra/relay/test_connect.py infra/relay/test_fetching.py
    infra/relay/test_history.py infra/relay/test_interruptions.py infra/relay/test_light.py
    infra/relay/test_passing.py infra/relay/test_peers.py infra/relay/test_staging.py
    infra/relay/test_ways_out.py
    infra/transfer/test_git_import.py infra/transfer/test_mirror.py
    infra/test_browser.py infra/test_build.py infra/test_cli.py infra/test_cli_keys.py
    infra/test_cli_hub.py infra/test_cli_people.py infra/test_cli_upkeep.py
    infra/test_containerfile.py infra/test_deploy.py
    infra/test_embedded_aws.py infra/test_events.py infra/test_local_upkeep.py
    infra/test_readme.py infra/test_serve.py
    infra/test_slow_clients.py infra/test_tools.py infra/test_web_function.py infra/test_wheel.py
    proof/test_damage.py proof/test_expunge.py proof/test_faults.py proof/test_hostile.py
    proof/test_largest_replies.py proof/test_memory.py proof/test_moves.py proof/test_mutants.py
    proof/test_pages.py proof/test_secrets.py proof/test_simulation.py proof/test_sqlite_engine.py
    proof/test_upkeep.py
    shared/graph/test_dag.py
    shared/maintenance/test_fsck.py shared/maintenance/test_gc.py
    shared/maintenance/test_prebuilt_clones.py shared/maintenance/test_purge.py
    shared/maintenance/test_rebuild.py shared/maintenance/test_repack.py
    shared/maintenance/test_upkeep.py
    shared/metadata/test_index.py shared/metadata/test_refs.py
    shared/test_codec.py shared/test_errors.py shared/test_keyring.py shared/test_meter.py
    template/test_distribution.py template/test_large_bodies.py template/test_lint.py
    template/test_permissions.py
    test_authorization.py test_budgets.py test_budgets_api.py test_costs.py test_crashes.py
    test_errors_catalogue.py test_isolation.py test_mission.py test_races.py test_session.py test_streaming.py
    test_ways_out.py
    test_cases/test_bases.py test_cases/test_bodies.py test_cases/test_downloads.py
    test_cases/test_fetch_steps.py test_cases/test_integrity.py test_cases/test_limits.py
    test_cases/test_objects.py test_cases/test_pointer.py test_cases/test_presign.py
    test_cases/test_quarantine.py test_cases/test_releases.py test_cases/test_staging.py
    test_cases/test_tags.py
    """.split()
)
"""Modules that start processes, play whole stories many times, or take over two seconds."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--fast`."""
    parser.addoption("--fast", action="store_true", help="run the fast tests only")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore the slow modules."""
    if not config.getoption("fast") or not collection_path.is_relative_to(TESTS):
        return None
    is_slow = collection_path.relative_to(TESTS).as_posix() in SLOW_MODULES
    return is_slow or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests with the marker `slow`."""
    if not config.getoption("fast"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a fast test that takes too long."""
    # Read before the test, which may be the one that changes the limit.
    limit_seconds = LIMIT_SECONDS
    before_seconds = _cpu_seconds()
    result = yield
    taken_seconds = _cpu_seconds() - before_seconds
    if item.config.getoption("fast") and taken_seconds > limit_seconds:
        pytest.fail(
            f"{taken_seconds:.1f} s of CPU, over {limit_seconds} s: mark the test with"
            " `pytest.mark.slow`, or make it faster",
            pytrace=False,
        )
    return result


def _cpu_seconds() -> float:
    """CPU time of this process and of its ended children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
