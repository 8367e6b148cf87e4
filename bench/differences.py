"""Compares a clone with the pushed history, byte for byte."""

from typing import Any

from bench.client import Fetched
from bench.history import History, Record
from shared import ids

BRANCH = "main"


def differences(history: History, cloned: Fetched) -> list[str]:
    """A line for each difference between a clone and the pushed history.

    Empty if they are equal.
    """
    faults = []
    heads = cloned.refs.get("branch_heads")
    if heads != {BRANCH: history.head}:
        faults.append(f"refs show {heads}, not {BRANCH} at {history.head}")
    contents = {one["object_id"]: one["content"] for one in cloned.bundle["objects"]}
    wrong = sum(ids.object_id(content) != object_id for object_id, content in contents.items())
    if wrong:
        faults.append(f"{wrong} objects do not hash to their ids")
    faults += _compared("objects", history.objects, contents, len(cloned.bundle["objects"]))
    for kind, key, sent in (
        ("commits", "commit_id", history.commits),
        ("snapshots", "snapshot_id", history.snapshots),
    ):
        came: list[Record] = cloned.bundle[kind]
        faults += _compared(
            kind, {one[key]: one for one in sent}, {one[key]: one for one in came}, len(came)
        )
    return faults


def _compared(kind: str, sent: Any, came: Any, count: int) -> list[str]:
    changed = sum(sent[one] != came[one] for one in sent.keys() & came.keys())
    counted = {
        "are missing": len(sent.keys() - came.keys()),
        "were never sent": len(came.keys() - sent.keys()),
        "differ": changed,
        "came twice": count - len(came),
    }
    return [f"{number} {kind} {what}" for what, number in counted.items() if number]
