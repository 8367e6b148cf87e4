"""The points at which a test stops a task: each is before a call to the AWS in memory takes effect.

    await story.turns.resume("push", THE_REF_IS_SWAPPED)

lets the push run until it is about to swap the ref. Only this module names the keys of the
repository `r1` and of the owner `ada`, which the stories use.
"""

from tests.turns import Point


def _before(operation: str, address: str = "") -> Point:
    """Before a call of this operation, whose keys begin with this address."""
    return lambda effect: effect.operation == operation and effect.address.startswith(address)


def _at(part: str) -> Point:
    """Before any call, read or write, to a key with this part."""
    return lambda effect: part in effect.address


# ── Refs ──────────────────────────────────────────────────────────────────────────────────────────


def ref_is_swapped(branch: str) -> Point:
    """Before the ref of a branch, or of a branch in this folder, is written."""
    return _before("UpdateItem", f"REPO#r1 REF#{branch}")


def ref_is_deleted(branch: str) -> Point:
    """Before the ref of a branch is deleted."""
    return _before("DeleteItem", f"REPO#r1 REF#{branch}")


THE_REF_IS_SWAPPED = ref_is_swapped("main")
THE_REFS_ARE_READ = _before("Query", "REPO#r1 REF#")
THE_MOVES_ARE_USED = _at("REPO#r1#MOVES")
"""The log of the moves of refs is read or written."""

# ── The index and the lanes ───────────────────────────────────────────────────────────────────────

A_COMMIT_IS_KNOWN = _before("PutItem", "REPO#r1#C")
BEFORE_IT_IS_KNOWN = (A_COMMIT_IS_KNOWN, THE_MOVES_ARE_USED)
"""The last points of a push at which no other request can find its commits."""
A_COMMIT_IS_CONDEMNED = _before("UpdateItem", "REPO#r1#C")
A_SNAPSHOT_IS_KNOWN = _before("BatchWriteItem", "REPO#r1#S")
AN_OBJECT_IS_KNOWN = _before("BatchWriteItem", "REPO#r1#O")
THE_SNAPSHOTS_ARE_LISTED = _before("Query", "REPO#r1#S")
THE_OBJECTS_ARE_LISTED = _before("Query", "REPO#r1#O")
A_LANE_IS_USED = _at("#LANE#")
"""A commit in its lane is read or written."""
A_LANE_IS_LISTED = _before("Query", "REPO#r1#LANE#")
A_LANE_GETS_A_ROW = _before("PutItem", "REPO#r1#LANE")
THE_LIST_OF_LANES_IS_USED = _at("#LANES")

# ── Any row ───────────────────────────────────────────────────────────────────────────────────────

A_ROW_IS_CREATED = _before("PutItem")
A_ROW_IS_UPDATED = _before("UpdateItem")
A_ROW_IS_DELETED = _before("DeleteItem")
A_TRANSACTION_IS_WRITTEN = _before("TransactWriteItems")

# ── Bytes ─────────────────────────────────────────────────────────────────────────────────────────

BYTES_ARE_STORED = _before("PutObject")
BYTES_ARE_READ = _before("GetObject")
BYTES_ARE_DELETED = _before("DeleteObjects")
THE_BUCKET_IS_LISTED = _before("ListObjectsV2")
THE_VERSIONS_ARE_LISTED = _before("ListObjectVersions")

# ── The lease of maintenance ──────────────────────────────────────────────────────────────────────

THE_LEASE_IS_USED = _at("REPO#r1#GC STATE")
THE_LEASE_IS_UPDATED = _before("UpdateItem", "REPO#r1#GC")
THE_LEASE_IS_PUT = _before("BatchWriteItem", "REPO#r1#GC")

# ── Repositories, members, releases ───────────────────────────────────────────────────────────────

THE_REPO_IS_WRITTEN = _before("UpdateItem", "OWNER#ada")
THE_REPO_IS_READ = _before("GetItem", "OWNER#ada")
THE_MEMBERS_ARE_USED = _at("MEMBERS#")
THE_RELEASE_IS_CREATED = _before("PutItem", "REPO#r1#RELEASES TAG#v1")
