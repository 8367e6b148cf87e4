"""The limits at which an algorithm changes its method.

They decide on cost and memory, never on a result. Tests use smaller values.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, and numbers of rows, ids and packs."""

    inline_record_bytes: int = 4096
    """A compressed commit record up to this size is stored in its row, where a read of history
    gets it without another call. Each kilobyte of a row costs a write unit, so larger records are
    stored in packs."""
    loose_object_bytes: int = 1_000_000
    """A larger object is stored under its own key: a pack that held it would be read for little
    else, and a reader cannot be redirected to an entry of a pack (see
    `file_response.TEXT_REPLY_BYTES`)."""
    few_objects: int = 90
    """Up to this number of objects of a push are looked up in the batch that is read anyway. Above
    it, the manifests of the parents show which objects are new. That is cheaper, but two steps
    longer."""

    many_ids: int = 1600
    """From this number of ids on, sixteen queries are fewer calls than batches of 100 keys."""
    read_ahead_rows: int = 8
    """A range query gives up after this number of rows for each requested id.

    A queried row of about 170 bytes costs 1/24 of a row read by key. A wrong guess therefore costs
    at most a third more, and a right one saves nearly the whole cost.
    """
    conditional_rows: int = 8
    """Up to this number of rows, each is written by itself, under the condition that it is new.

    Above it, rows in lanes are written in batches without a condition. If two pushes of the same
    commits race, the row may then keep the unhashed fields of the later push. It never holds
    another commit.
    """
    repointed_rows: int = 99
    """Rows whose locations change in one transaction, in addition to the row of the lease."""

    small_pack_bytes: int = 5 * 1024 * 1024
    """Repack combines packs that are smaller than this size."""
    small_pack_seconds: int = 24 * 3600
    """Repack combines packs that are older than this time: a push may take many requests."""
    combined_pack_bytes: int = 16 * 1024 * 1024
    """The greatest sum of the packs that become one, as large as the window of a fetch
    (`packs.WINDOW_BYTES`). A fetch reads a larger pack in several requests anyway."""
    combined_packs: int = 8
    """The fewest packs that become one: for fewer, the changes of their rows cost too much. A new
    pack is combined again only with 7 others."""
    packs_at_once: int = 32
    """Packs that repack reads at the same time."""
