"""The reader of old journals: it skips an unfinished end, and refuses every other damage."""

from pathlib import Path

import pytest

from infra import journal
from infra.aws_request import Request
from infra.journal import MAGIC, PREFIX_BYTES, Unreadable
from tests.infra import old_journal

REQUESTS = [
    Request("POST", "/", {"x-amz-target": "DynamoDB_20120810.BatchWriteItem"}, b'{"a":1}'),
    Request("PUT", "/b/k%C3%A9", {"content-type": "text/plain"}, bytes(range(256))),
    Request("DELETE", "/b/k", {}, b""),
]
WHOLE = old_journal.journal(REQUESTS)
LAST = len(WHOLE) - len(old_journal.record(REQUESTS[-1]))
"""The position of the last record."""


def read(folder: Path, content: bytes) -> list[Request]:
    """Return the requests of a journal with this content."""
    return list(journal.requests(old_journal.write(folder, content)))


def test_all_requests_are_read_in_their_order(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE) == REQUESTS


@pytest.mark.parametrize("reserved", [0, 3000])
def test_a_last_record_that_was_cut_anywhere_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, reserved: int
) -> None:
    for size in range(LAST, len(WHOLE)):
        caplog.clear()
        cut = WHOLE[:size] + bytes(reserved)
        assert read(tmp_path, cut) == REQUESTS[:-1], size
        has_bytes = bool(WHOLE[LAST:size].strip(b"\0"))
        assert [f"at byte {LAST}" in line for line in caplog.messages] == [True] * has_bytes


def test_reserved_space_at_the_end_is_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(tmp_path, WHOLE + bytes(5000)) == REQUESTS
    assert not caplog.messages


@pytest.mark.parametrize("size", range(len(MAGIC) + 1))
def test_a_journal_that_was_being_created_is_empty(tmp_path: Path, size: int) -> None:
    assert read(tmp_path, MAGIC[:size]) == []


def test_each_changed_byte_before_the_last_body_is_an_error(tmp_path: Path) -> None:
    for at in range(len(MAGIC), LAST + PREFIX_BYTES):
        damaged = WHOLE[:at] + bytes([WHOLE[at] ^ 0x41]) + WHOLE[at + 1 :]
        with pytest.raises(Unreadable, match="damaged at byte"):
            read(tmp_path, damaged)


def test_a_damaged_last_record_is_skipped_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = WHOLE[:-1] + bytes([WHOLE[-1] ^ 1])
    assert read(tmp_path, damaged) == REQUESTS[:-1]
    assert f"at byte {LAST}" in caplog.text


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="was not written by an earlier version"):
        read(tmp_path, b"pieria journal 2\nsomething")
