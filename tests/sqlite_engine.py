"""`ENGINE=sqlite pytest …` runs tests on SQLite and files instead of the emulated AWS.

It applies to tests that reach the hub through its handlers. It does not apply to those that
intercept AWS calls, or that read the tables and the bucket by boto3.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from infra.signed_objects import SignedObjects
from shared.engines import local

SUITES = (
    "tests/test_cases",
    "tests/test_isolation.py",
    "tests/test_races.py",
    "tests/test_ways_out.py",
    "tests/test_mission.py",
    "tests/proof/test_hostile.py",
)
"""The modules that apply. `make test-sqlite` runs them all."""

NOT_APPLICABLE = frozenset(
    """
    test_D09_what_is_too_large_for_lambda_is_read_from_s3
    test_D09_a_private_object_is_not_signed_for_a_stranger
    test_the_largest_that_is_sent_is_what_lambda_passes
    test_D14_a_large_file_without_a_name_is_read_from_s3_with_its_type
    test_D15_a_large_file_is_read_from_s3_with_its_type
    test_a_file_whose_name_states_nothing_costs_no_more_unless_a_part_of_it_is_asked_for
    test_P02_a_url_is_signed_for_its_host_alone
    test_a_url_is_good_for_as_long_as_asked
    test_a_url_for_a_size_is_signed_for_that_length
    test_a_push_of_many_objects_that_were_never_uploaded_lists_the_quarantine_once_and_reads_nothing
    test_an_upload_that_is_among_many_absent_objects_is_not_read
    test_an_upload_that_no_stock_client_could_clone_is_refused_with_its_path
    test_ten_thousand_urls_come_in_several_replies_that_lambda_can_send
    test_L02_a_publication_cut_short_has_happened_or_not_and_again_completes
    test_L12_a_retraction_cut_short_has_happened_or_not
    test_the_url_is_signed_for_the_announced_length
    test_a_staged_push_stores_the_same_rows_and_bytes_as_a_sent_one
    test_branches_that_differ_in_letter_case_are_refused_and_an_old_pair_stays_usable
    """.split()
)
"""Tests of URLs of S3, of counted or failing AWS calls, and of rows that boto3 reads."""


def skip_others(items: Sequence[pytest.Item]) -> None:
    """Skip the tests that do not apply to the selected engine."""
    if os.environ.get("ENGINE") != "sqlite":
        return
    for item in items:
        if getattr(item, "originalname", "") in NOT_APPLICABLE:
            item.add_marker(pytest.mark.skip(reason="states the behaviour of AWS"))


@contextmanager
def selected(folder: Path) -> Iterator[None]:
    """Select the engine, and serve its presigned URLs."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.MonkeyPatch.context() as patched,
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        # A handler is called without the ASGI app that sets the address.
        patched.setattr(local, "address", ContextVar("address", default=url))
        patched.setenv("PIERIA_DATA", str(folder))
        engine = local.acquire(folder.resolve(), json.loads(os.environ["PIERIA_SIGNING_KEYS"]))
        app = SignedObjects(PlainTextResponse("", 404), engine.bucket, engine.bucket.urls)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()
            local.release(folder.resolve())
