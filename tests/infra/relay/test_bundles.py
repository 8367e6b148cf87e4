"""Fetch replies: read record by record, with snapshots that are patches of others."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256

import msgpack
import pytest

from infra.relay import bundles
from infra.relay.bundles import Offer, Snapshots, read_bundle
from infra.relay.spool import Spool
from shared import codec, codings
from shared.errors import Unavailable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

REPOSITORY = "/me/song"


def record(number: int) -> bytes:
    """A snapshot of 3,000 files, which differs from the one before in one file."""
    manifest = {
        f"file-{n}": sha256(b"%d" % (n + number * (n == 7))).hexdigest() for n in range(3_000)
    }
    return codec.pack_record({"snapshot_id": f"files-{number}", "manifest": manifest})


def patch(number: int, base: int) -> bytes:
    """The same as a patch of another."""
    prefix = zstd.ZstdDict(record(base), is_raw=True).as_prefix
    options: dict[int, int] = {zstd.CompressionParameter.window_log: codings.WINDOW_LOG}
    frame = zstd.compress(record(number), zstd_dict=prefix, options=options)
    return codec.pack_record(
        {"snapshot_id": f"files-{number}", "base": f"files-{base}", "patch": frame}
    )


@pytest.fixture
def spooled() -> Iterator[Callable[[bytes], Spool]]:
    """Makes spools with these bytes."""
    with ExitStack() as closing:

        def make(data: bytes) -> Spool:
            spool = Spool()
            closing.callback(spool.close)
            spool.write(data)
            return spool

        yield make


def kept(*numbers: int) -> Snapshots:
    """A relay that has passed on these snapshots."""
    snapshots = Snapshots()
    for number in numbers:
        Offer(snapshots, REPOSITORY).take(record(number))
    return snapshots


def test_the_records_that_were_passed_on_are_offered_as_bases() -> None:
    offer = Offer(kept(1, 2), REPOSITORY)
    assert offer.bases == {f"files-{n}": sha256(record(n)).hexdigest() for n in (1, 2)}
    assert Offer(kept(1, 2), "/others/song").bases == {}


def test_a_patch_of_an_offered_record_is_expanded() -> None:
    offer = Offer(kept(1), REPOSITORY)
    sent = patch(2, 1)
    assert len(sent) < 1_000 < len(record(2))
    assert offer.take(sent) == ("files-2", record(2))
    assert Offer(offer._snapshots, REPOSITORY).bases.keys() == {"files-1", "files-2"}


def test_a_patch_of_an_earlier_snapshot_of_the_same_reply_is_expanded() -> None:
    offer = Offer(kept(1), REPOSITORY)
    assert [offer.take(sent)[1] for sent in (patch(2, 1), patch(3, 2), record(4), patch(5, 4))] == [
        record(number) for number in (2, 3, 4, 5)
    ]


def test_an_offered_record_is_a_base_even_if_it_was_forgotten_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bundles, "RECENT_BYTES", len(record(1)) + 10)
    snapshots = kept(1)
    offer = Offer(snapshots, REPOSITORY)
    offer.take(record(9))
    assert snapshots.get(REPOSITORY, "files-1") is None
    assert offer.take(patch(2, 1))[1] == record(2)


def test_the_memory_for_records_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "RECENT_BYTES", 3 * len(record(1)))
    snapshots = kept(*range(10), 9, 9)
    assert snapshots._bytes <= bundles.RECENT_BYTES
    assert snapshots._bytes == sum(map(len, snapshots._records.values()))
    assert snapshots.newest(REPOSITORY).keys() == {"files-7", "files-8", "files-9"}


def test_a_patch_of_an_unknown_or_another_record_is_a_failure() -> None:
    with pytest.raises(Unavailable, match="does not have"):
        Offer(kept(1), REPOSITORY).take(patch(3, 2))
    broken = codec.unpack_record(patch(2, 1))
    broken["patch"] = broken["patch"][:-20]
    with pytest.raises(Unavailable, match="cannot be expanded"):
        Offer(kept(1), REPOSITORY).take(codec.pack_record(broken))


def test_a_bundle_is_read_record_by_record(spooled: Callable[[bytes], Spool]) -> None:
    taken: list[bytes] = []
    value = {
        "commits": [{"a": 1}, {"b": "x" * 70_000}],
        "branch_heads": {"main": "c"},
        "objects": [],
    }
    content = spooled(msgpack.packb(value))
    assert read_bundle(content, {"commits": taken.append}) == {
        "branch_heads": {"main": "c"},
        "objects": [],
    }
    assert [msgpack.unpackb(packed) for packed in taken] == value["commits"]


@pytest.mark.parametrize(
    "data", [b"", b"\x81", b"\xc1", b"\x01", b"\x81\xa7commits\x05", b"\x81\xa7commits\x92\x01"]
)
def test_a_reply_that_is_no_bundle_is_a_failure_of_the_hub(
    spooled: Callable[[bytes], Spool], data: bytes
) -> None:
    with pytest.raises(Unavailable, match="not a msgpack bundle"):
        read_bundle(spooled(data), {"commits": lambda _: None})
