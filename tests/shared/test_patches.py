"""Patches: a record comes back with its base, and with nothing else."""

import random

import pytest

from shared import patches

BASE = b"".join(b"path/%05d %064x\n" % (number, number * 7919) for number in range(5_000))
RECORD = BASE.replace(b"path/02500", b"path/zzzzz")


def test_a_patch_expands_to_the_record_and_is_small() -> None:
    frame = patches.patch(RECORD, BASE)
    assert patches.expand(frame, BASE) == RECORD
    assert len(frame) < len(RECORD) / 100


@pytest.mark.parametrize("record", [b"", b"x", BASE])
def test_short_and_equal_records_come_back(record: bytes) -> None:
    assert patches.expand(patches.patch(record, BASE), BASE) == record


def test_another_base_or_a_damaged_patch_is_refused() -> None:
    frame = patches.patch(RECORD, BASE)
    others = [
        (frame, BASE[::-1]),
        (frame[:-1], BASE),
        (frame + frame, BASE),
        (b"", BASE),
        (b"no frame", BASE),
    ]
    damaged = bytearray(patches.patch(random.Random(5).randbytes(9_000), BASE))
    damaged[5_000] ^= 1
    for bad, base in [*others, (bytes(damaged), BASE)]:
        with pytest.raises(ValueError, match="the patch is"):
            patches.expand(bad, base)


def test_a_patch_that_expands_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "LARGEST_BYTES", len(RECORD))
    assert patches.expand(patches.patch(RECORD, BASE), BASE) == RECORD
    with pytest.raises(ValueError, match="too large"):
        patches.expand(patches.patch(RECORD + b"x", BASE), BASE)
