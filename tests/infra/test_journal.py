"""The journal: what was appended comes back, whatever was cut off, and damage is told from it."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.journal import Journal, JournalError
from infra.records import MAGIC, PREFIX_BYTES, Request

REQUESTS = [
    Request("POST", "/", {"x-amz-target": "DynamoDB_20120810.PutItem"}, b'{"TableName":"t"}'),
    Request(
        "PUT", "/b/k%C3%A9?x-id=PutObject", {"content-type": "text/plain"}, bytes(range(256)) * 3
    ),
    Request("DELETE", "/b/k", {}, b""),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a journal is made."""
    return tmp_path / "data"


def write(folder: Path, *requests: Request) -> list[int]:
    """A journal of these requests, closed. Returns where each record ends."""
    ends = []
    with Journal(folder) as journal:
        for request in requests:
            journal.append(request)
            ends.append(journal.position.end)
        journal.sync(journal.position)
    return ends


def read(folder: Path) -> list[Request]:
    """What a journal holds when opened again."""
    with Journal(folder) as journal:
        found = list(journal)
        assert journal.requests == len(found)
        return found


def test_what_was_appended_comes_back_in_order(folder: Path) -> None:
    write(folder, *REQUESTS[:2])
    write(folder, *REQUESTS[2:])
    assert read(folder) == REQUESTS


def test_a_record_that_was_cut_anywhere_is_dropped_and_those_before_it_stay(folder: Path) -> None:
    ends = write(folder, *REQUESTS)
    path = folder / "journal"
    whole = path.read_bytes()
    for size in range(ends[-2], ends[-1]):
        path.write_bytes(whole[:size])
        assert read(folder) == REQUESTS[:-1], size
        assert path.stat().st_size == ends[-2]
        write(folder, REQUESTS[0])
        assert read(folder) == [*REQUESTS[:-1], REQUESTS[0]], size


@pytest.mark.parametrize("size", range(len(MAGIC)))
def test_a_journal_that_was_being_made_is_empty(folder: Path, size: int) -> None:
    folder.mkdir()
    (folder / "journal").write_bytes(MAGIC[:size])
    assert write(folder, *REQUESTS) and read(folder) == REQUESTS


def test_zeros_at_the_end_are_cut_off(folder: Path) -> None:
    """What a power cut may leave: the file had grown, its last bytes were not yet written."""
    ends = write(folder, *REQUESTS)
    path = folder / "journal"
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert read(folder) == REQUESTS
    assert path.stat().st_size == ends[-1]


def test_any_changed_byte_before_the_last_record_is_an_error(folder: Path) -> None:
    ends = write(folder, *REQUESTS)
    path = folder / "journal"
    whole = bytearray(path.read_bytes())
    for at in range(len(MAGIC), ends[-2]):
        whole[at] ^= 0x41
        path.write_bytes(whole)
        with pytest.raises(JournalError, match="damaged at byte"):
            Journal(folder)
        whole[at] ^= 0x41
        assert path.stat().st_size == ends[-1], "and nothing is cut"


def test_a_changed_byte_in_the_last_prefix_is_an_error(folder: Path) -> None:
    """Or else a damaged length could pass for an unfinished record."""
    ends = write(folder, *REQUESTS)
    path = folder / "journal"
    whole = bytearray(path.read_bytes())
    for at in range(ends[-2], ends[-2] + PREFIX_BYTES):
        path.write_bytes(bytes(whole[:at]) + bytes([whole[at] ^ 1]) + bytes(whole[at + 1 :]))
        with pytest.raises(JournalError, match="damaged at byte"):
            Journal(folder)


def dropped(folder: Path, caplog: pytest.LogCaptureFixture) -> tuple[str, bytes] | None:
    """The line about the dropped end of the journal at its next start, and the bytes that were
    kept.
    """
    caplog.clear()
    Journal(folder).close()
    files = list(folder.glob("journal.dropped-*"))
    assert len(files) == len(caplog.records) <= 1
    if not files:
        return None
    [kept] = files
    content = kept.read_bytes()
    kept.unlink()
    return caplog.messages[0], content


def test_an_unfinished_record_is_told_from_a_damaged_one(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ends = write(folder, *REQUESTS)
    path = folder / "journal"
    whole = path.read_bytes()
    start, end = ends[-2], ends[-1]

    for size in range(start + 1, end):
        for reserved in (b"", bytes(end - size + 3000)):
            path.write_bytes(whole[:size] + reserved)
            found = dropped(folder, caplog)
            if whole[start:size].strip(b"\0"):
                assert found is not None
                line, kept = found
                assert f"{path}: the last record, at byte {start}, is unfinished" in line, (
                    size,
                    len(reserved),
                )
                assert kept.rstrip(b"\0") == whole[start:size].rstrip(b"\0")
            else:
                assert found is None, "the record begins with zeros: nothing was written"

    for at in range(start + PREFIX_BYTES, end):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found = dropped(folder, caplog)
        assert found is not None
        line, kept = found
        assert f"{path}: the last record, at byte {start}, is complete but damaged" in line, at
        assert kept == whole[start:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        assert read(folder) == REQUESTS[:-1]


def test_reserved_space_is_given_back_and_after_a_crash_not_reported(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Journal(folder) as journal:
        journal.reserve(100)
        journal.append(REQUESTS[0])
        journal.sync(journal.position)
        crashed = (folder / "journal").read_bytes()
        end = journal.position.end
        assert len(crashed) > end + 100
    assert (folder / "journal").stat().st_size == end
    (folder / "journal").write_bytes(crashed)
    assert dropped(folder, caplog) is None
    assert read(folder) == REQUESTS[:1]


def test_what_was_dropped_twice_at_one_place_is_kept_twice(folder: Path) -> None:
    ends = write(folder, *REQUESTS)
    for _ in range(2):
        with (folder / "journal").open("ab") as file:
            file.write(b"half a record")
        Journal(folder).close()
    assert [path.read_bytes() for path in folder.glob(f"journal.dropped-{ends[-1]}*")] == [
        b"half a record"
    ] * 2


def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, *REQUESTS)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(JournalError, match="belongs to another user"):
        Journal(folder)


def test_after_a_rewind_no_earlier_position_counts_as_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: int) -> None:
        raise OSError(5, "Input/output error")

    with Journal(folder) as journal:
        journal.append(REQUESTS[0])
        journal.sync(journal.position)
        journal.append(REQUESTS[1])
        lost = journal.position
        with monkeypatch.context() as disk, pytest.raises(JournalError):
            disk.setattr(os, "fsync", failing)
            journal.sync(lost)
        assert journal.rewind() and not journal.rewind()
        for request in REQUESTS:
            journal.append(request)
        with pytest.raises(JournalError):
            journal.sync(lost)
        journal.sync(journal.position)
        assert journal.requests == 4
    assert read(folder) == [REQUESTS[0], *REQUESTS]


def test_another_format_is_refused_and_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "journal").write_bytes(b"pieria journal 2\nsomething")
    with pytest.raises(JournalError, match="not written by this version"):
        Journal(folder)
    assert (folder / "journal").read_bytes() == b"pieria journal 2\nsomething"


def test_a_second_process_is_told_so_in_one_line(folder: Path) -> None:
    with Journal(folder):
        with pytest.raises(JournalError) as refused:
            Journal(folder)
        assert "in use" in str(refused.value) and "\n" not in str(refused.value)
    Journal(folder).close()


def test_a_journal_that_could_not_be_opened_is_not_held(folder: Path) -> None:
    folder.mkdir()
    (folder / "journal").write_bytes(b"something else")
    for _ in range(2):
        with pytest.raises(JournalError, match="not written by this version"):
            Journal(folder)


def test_only_the_owner_may_read(folder: Path) -> None:
    write(folder, *REQUESTS)
    with Journal(folder) as journal:
        journal.rewrite(REQUESTS)
    assert {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]
    } == {
        "data": 0o700,
        "journal": 0o600,
        "lock": 0o600,
    }


def test_a_rewrite_replaces_all_and_takes_more(folder: Path) -> None:
    write(folder, *REQUESTS * 5)
    with Journal(folder) as journal:
        journal.rewrite(REQUESTS[1:])
        assert journal.requests == 2 and list(journal) == REQUESTS[1:]
        journal.append(REQUESTS[0])
    assert read(folder) == [*REQUESTS[1:], REQUESTS[0]]


def test_a_rewrite_that_fails_leaves_the_old_journal(folder: Path) -> None:
    def interrupted() -> Iterator[Request]:
        yield REQUESTS[0]
        raise RuntimeError("killed")

    write(folder, *REQUESTS)
    with Journal(folder) as journal, pytest.raises(RuntimeError):
        journal.rewrite(interrupted())
    assert read(folder) == REQUESTS


def test_after_a_failed_write_nothing_more_is_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with Journal(folder) as journal:
        journal.append(REQUESTS[0])
        with (
            monkeypatch.context() as disk,
            pytest.raises(JournalError, match="wait for free disk space"),
        ):
            disk.setattr(os, "write", full)
            journal.append(REQUESTS[1])
        for attempt in (
            lambda: journal.append(REQUESTS[2]),
            lambda: journal.sync(journal.position),
        ):
            with pytest.raises(JournalError, match="wait for free disk space"):
                attempt()
    assert read(folder) == REQUESTS[:1]


def test_those_who_wait_share_a_flush(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = threading.Semaphore(0)
    calls = []

    def slow(fd: int) -> None:
        calls.append(fd)
        flushed.acquire()

    with Journal(folder) as journal:
        monkeypatch.setattr(os, "fsync", slow)
        waiting = []
        for request in REQUESTS * 4:
            journal.append(request)
            waiting.append(threading.Thread(target=journal.sync, args=[journal.position]))
            waiting[-1].start()
        flushed.release(2)
        for thread in waiting:
            thread.join(5)
            assert not thread.is_alive()
    assert len(calls) <= 2
