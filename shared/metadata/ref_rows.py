"""The rows of branches and of their moves: the codec of each."""

from shared.metadata import attributes, keys
from shared.metadata.table import Row
from shared.model import CommitAddress, CommitId, Move, Packed, Ref

_BRANCH = attributes.RowFormat("branch")
_MOVE = attributes.RowFormat("move")


def encode(ref: Ref, *, by: str, now: int) -> Row:
    """All attributes of a branch: they replace those of the row with an earlier head."""
    row: Row = {
        "head": ref.head.commit_id,
        "generation": ref.head.generation,
        "lane": ref.head.lane,
        "snapshot_at": str(ref.snapshot_at or ""),
        "updated_at": now,
        "updated_by": by,
        "step": ref.step or "",
        "moved_at": ref.moved_at,
    }
    if _BRANCH.readable == 1:
        # A swap has read the row, so it has version 1, too. 8 bytes more would cost each poll 3 %.
        return row
    return _BRANCH.stamp_in_place(row)


def decode(row: Row) -> Ref | None:
    """The branch in a row; None for a row that is only a mark (see `refs`). Raises Damaged."""
    if "head" not in row:
        return None
    head = CommitAddress(
        CommitId(attributes.text(row, "head", _BRANCH)),
        attributes.number(row, "generation", _BRANCH),
        attributes.text(row, "lane", _BRANCH),
    )
    return Ref(
        attributes.text(row, "sk", _BRANCH).removeprefix(keys.REF),
        head,
        snapshot_at(row),
        # Rows of an older hub do not have these two.
        (attributes.text(row, "step", _BRANCH) or None) if "step" in row else None,
        attributes.number(row, "moved_at", _BRANCH) if "moved_at" in row else 0,
    )


def snapshot_at(row: Row) -> Packed | None:
    """The location of the snapshot in the row of a branch; None if it is not stored."""
    if row.get("snapshot_at") == "":
        return None
    return attributes.packed(row, "snapshot_at", _BRANCH)


def encode_move(move: Move) -> Row:
    """All attributes of a move. A commit is empty if the branch did not exist."""
    row: dict[str, str | int | list[str]] = {
        "at": move.at,
        "by": move.by,
        "before": keys.address_text(move.before) if move.before else "",
        "after": keys.address_text(move.after) if move.after else "",
        "forced": int(move.forced),
        "previous": move.previous or "",
    }
    if move.expunged:
        row["expunged"] = sorted(move.expunged)
    if move.rungs:
        row["rungs"] = [keys.address_text(rung) for rung in move.rungs]
    return _MOVE.stamp(row)


def decode_move(row: Row) -> Move:
    """The inverse of `encode_move`. Raises Damaged."""
    branch, _, step = attributes.text(row, "sk", _MOVE).rpartition("//")
    expunged = attributes.texts(row, "expunged", _MOVE) if "expunged" in row else ()
    return Move(
        branch=branch,
        at=attributes.number(row, "at", _MOVE),
        by=attributes.text(row, "by", _MOVE),
        before=_end(row, "before"),
        after=_end(row, "after"),
        forced=attributes.flag(row, "forced", _MOVE),
        step=step,
        previous=attributes.text(row, "previous", _MOVE) or None,
        expunged=frozenset(map(CommitId, expunged)),
        rungs=tuple(attributes.addresses(row, "rungs", _MOVE) if "rungs" in row else ()),
    )


def _end(row: Row, name: str) -> CommitAddress | None:
    """One of the two commits of a move."""
    return attributes.address(row, name, _MOVE) if row.get(name) != "" else None
