"""Snapshots in a reply as patches of snapshots that the client has.

A client sends the ids of snapshots that it holds, each with the SHA-256 of its packed record. A
record is used as a base if the fetch reads it anyway, and it has this digest. In a reply, the first
snapshot may be a patch of such a base, and each further one a patch of the snapshot before it:

    {"snapshot_id": …, "base": the id of the base, "patch": see `patches`}
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256

from shared import codec, patches

LARGEST_BYTES = 16 * 1024 * 1024
"""The largest base. It is in memory; a manifest of 50,000 files has about 7 MB."""


class Bases:
    """The bases of one fetch. `offered`: the digests that the client sent, by snapshot id."""

    def __init__(self, offered: Mapping[str, str]) -> None:
        self._offered = offered
        self._found: tuple[str, bytes] | None = None

    def see(self, record: bytes) -> None:
        """Keep a packed snapshot of the boundary, if it can be used as a base.

        The last one is used.
        """
        if not self._offered or len(record) > LARGEST_BYTES:
            return
        snapshot_id = _id_of(record)
        if self._offered.get(snapshot_id) == sha256(record).hexdigest():
            self._found = snapshot_id, record

    def patched(self, records: Iterable[bytes]) -> Iterator[bytes]:
        """These packed snapshots in their order, each as a patch where it is shorter.

        Without a base, as they are.
        """
        base = self._found
        for record in records:
            if base is None:
                yield record
                continue
            snapshot_id = _id_of(record)
            patch = patches.patch(record, base[1])
            packed = codec.pack_record(
                {"snapshot_id": snapshot_id, "base": base[0], "patch": patch}
            )
            yield min(packed, record, key=len)
            base = snapshot_id, record


def _id_of(record: bytes) -> str:
    snapshot_id: bytes = codec.unpack_raw(record)[b"snapshot_id"]
    return snapshot_id.decode()
