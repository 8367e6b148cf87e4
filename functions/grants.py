"""Permissions of functions, by name: the column `grants` of the table in `endpoints`.

A grant names one place. A grant to write rows also names the partitions, see
`shared/metadata/keys.py`. IAM allows a batch only if one statement covers all of its partitions.
So a function has at most one grant for an action at a place.
"""

from dataclasses import dataclass

from shared.objects import keys


@dataclass(frozen=True)
class Grant:
    """A statement in the policy of a function."""

    name: str
    """Its Sid."""
    place: str
    """One of the places below."""
    actions: str
    """The AWS actions, without the name of the service, separated by spaces."""
    partitions: tuple[str, ...] = ()
    """Patterns of partition keys. Empty: all."""


# ── Places ──────────────────────────────────────────────────────────────────────────────────────

HUB = "hub"
"""The table of repositories, commits, members and tokens."""
COUNTERS = "counters"
"""The table of requests, costs and refused pushes. Its rows expire."""
BUCKET = "bucket"
"""The list of keys in the bucket."""
STORED = keys.ALL_STORED
UPLOADS = keys.ALL_UPLOADS
"""The quarantine: bytes that clients upload, before a push verifies them."""
STAGED = keys.ALL_STAGED
"""Bodies of requests that clients upload."""
SIGNING_KEYS = "signing keys"
"""The SSM parameter of the keys that verify tokens, and that sign cursors."""
PRIVATE_KEYS = "private keys"
"""The SSM parameter of the key that signs tokens."""
CLIENT_SECRETS = "client secrets"
"""The SSM parameter of the secrets of the hub at its identity providers."""

# ── Partitions ──────────────────────────────────────────────────────────────────────────────────

HANDLES = "HANDLE#*"
IDENTITIES = "IDENTITY#*"
OWNERS = "OWNER#*"
LISTED = "LISTED#*"
RECENT = "RECENT"
MEMBERS = "MEMBERS#*"
TOKENS = "TOKENS#*"
DELETED = "DELETED"
DOMAINS = "DOMAINS"
DUE = "DUE"
"""The list of due upkeep."""
# The question marks stand for a repository's id. With `*`, the name of a lane could be taken for
# another partition.
REPO = "REPO#????????-????-????-????-????????????"
"""The name of a repository, its branches, and its prebuilt clone."""
COMMITS = f"{REPO}#C?"
SNAPSHOTS = f"{REPO}#S?"
OBJECTS = f"{REPO}#O?"
LANE = f"{REPO}#LANE#*"
UPKEEP = f"{REPO}#GC"
"""The state of the upkeep of a repository."""
LANES = f"{REPO}#LANES"
MOVES = f"{REPO}#MOVES"
RELEASES = f"{REPO}#RELEASES"
TAGS = f"{REPO}#TAGS"
ISSUERS = f"{REPO}#ISSUERS"

# ── Callers ─────────────────────────────────────────────────────────────────────────────────────

READ_SIGNING_KEYS = Grant("ReadSigningKeys", SIGNING_KEYS, "GetParameter")
READ_PRIVATE_KEYS = Grant("ReadPrivateKeys", PRIVATE_KEYS, "GetParameter")
"""For the functions that issue tokens."""
READ_CLIENT_SECRETS = Grant("ReadClientSecrets", CLIENT_SECRETS, "GetParameter")
COUNT = Grant("Count", COUNTERS, "BatchGetItem UpdateItem")
COUNT_AND_RECALL_REFUSED = Grant(
    "CountAndRecallRefused", COUNTERS, "GetItem BatchGetItem UpdateItem"
)

SERVE_CALLERS = (COUNT, READ_SIGNING_KEYS)
"""For every function that identifies its callers and limits their requests."""

# ── Rows ────────────────────────────────────────────────────────────────────────────────────────

READ_ITEMS = Grant("ReadHub", HUB, "GetItem BatchGetItem")
READ_BATCHES = Grant("ReadHub", HUB, "BatchGetItem")
READ_PARTITIONS = Grant("ReadHub", HUB, "BatchGetItem Query")
READ_ALL = Grant("ReadHub", HUB, "GetItem BatchGetItem Query")
READ_AND_WRITE_TOKENS = Grant(
    "ReadAndWriteTokens", HUB, "BatchGetItem Query UpdateItem BatchWriteItem", (TOKENS,)
)

CLAIM_HANDLE = Grant("ClaimHandle", HUB, "PutItem", (HANDLES,))
SIGN_USERS_IN = (
    Grant("ReadTokensAndIdentities", HUB, "BatchGetItem", (TOKENS, IDENTITIES)),
    Grant("RevokeTokenOrClaimHandle", HUB, "UpdateItem", (TOKENS, IDENTITIES, HANDLES)),
    Grant("ListAndRecordTokens", HUB, "Query BatchWriteItem", (TOKENS,)),
    Grant("ClaimHandleOrLinkIdentity", HUB, "PutItem", (HANDLES, IDENTITIES)),
)
"""A first sign-in is a transaction of updates, which needs `UpdateItem` only."""
CLAIM_HANDLE_AND_PUBLISH = Grant("ClaimHandleAndPublish", HUB, "PutItem", (HANDLES, DOMAINS))
REPLACE_DOMAIN = Grant("ReplaceDomain", HUB, "UpdateItem", (DOMAINS,))
DELETE_DOMAIN = Grant("DeleteDomain", HUB, "DeleteItem", (DOMAINS,))
NAME_REPO = Grant("NameRepo", HUB, "UpdateItem", (OWNERS,))
CREATE_REPO = (
    CLAIM_HANDLE,
    NAME_REPO,
    Grant("RecordId", HUB, "BatchWriteItem", (REPO, LISTED, RECENT, DUE)),
)
"""With `PushToCreate`, the first write creates the repository."""
CREATE_REPO_AND_WRITE_OBJECTS = (
    CLAIM_HANDLE,
    NAME_REPO,
    Grant("RecordIdAndObjects", HUB, "BatchWriteItem", (REPO, LISTED, RECENT, OBJECTS, DUE)),
)
CREATE_REPO_AND_PUSH = (
    Grant("ClaimHandleAndWriteCommits", HUB, "PutItem", (HANDLES, COMMITS, LANE)),
    Grant("NameRepoAndMoveRefs", HUB, "UpdateItem", (OWNERS, REPO)),
    Grant(
        "WriteRecords",
        HUB,
        "BatchWriteItem",
        (REPO, LISTED, RECENT, MOVES, SNAPSHOTS, OBJECTS, LANE, LANES, DUE),
    ),
)
CHANGE_REPOS = (
    CLAIM_HANDLE,
    Grant("RenameAndDelete", HUB, "UpdateItem", (OWNERS, LISTED, RECENT, REPO, DELETED, DUE)),
    Grant("RecordIdAndCopyMembers", HUB, "BatchWriteItem", (REPO, LISTED, RECENT, MEMBERS, DUE)),
    # Not the name: that of a deleted repository is marked as deleted.
    Grant("DeleteListing", HUB, "DeleteItem", (LISTED, RECENT, DELETED)),
)
"""A rename and a deletion are transactions of updates, which need `UpdateItem` only."""

CHANGE_REPOS_BY_FORMS = (
    Grant("ClaimHandleAndTrustIssuer", HUB, "PutItem", (HANDLES, ISSUERS)),
    Grant(
        "ChangeReposAndMoveRefs", HUB, "UpdateItem", (OWNERS, LISTED, RECENT, REPO, DELETED, DUE)
    ),
    Grant(
        "RecordReposMembersAndMoves",
        HUB,
        "BatchWriteItem",
        (REPO, LISTED, RECENT, MEMBERS, MOVES, DUE),
    ),
    Grant(
        "DeleteRows",
        HUB,
        "DeleteItem",
        (LISTED, RECENT, MEMBERS, REPO, DELETED, DOMAINS, ISSUERS),
    ),
)
"""To change repositories, members and branches together, to undelete, and to delete domains."""

WRITE_MEMBERS = Grant("WriteMembers", HUB, "BatchWriteItem DeleteItem", (MEMBERS,))
RECORD_CHANGE_OF_MEMBERS = Grant("RecordChangeOfMembers", HUB, "UpdateItem", (OWNERS,))
WRITE_TRUSTED_ISSUERS = Grant("WriteTrustedIssuers", HUB, "PutItem DeleteItem", (ISSUERS,))
RECORD_TOKENS = Grant("RecordTokens", HUB, "BatchWriteItem", (TOKENS,))
WRITE_RELEASES = (
    Grant("PublishAndRetract", HUB, "PutItem DeleteItem", (RELEASES,)),
    Grant("ListUpkeep", HUB, "BatchWriteItem", (DUE,)),
)
WRITE_TAGS = (
    Grant("WriteTags", HUB, "PutItem DeleteItem", (TAGS,)),
    Grant("WriteTagsAndListUpkeep", HUB, "BatchWriteItem", (TAGS, DUE)),
)
MOVE_REFS = Grant("MoveRefs", HUB, "UpdateItem DeleteItem", (REPO,))
RECORD_MOVES = Grant("RecordMoves", HUB, "BatchWriteItem", (MOVES, DUE))

# ── Bytes ───────────────────────────────────────────────────────────────────────────────────────

LIST_KEYS = Grant("ListKeys", BUCKET, "ListBucket")
"""Without it S3 replies 403 for an absent key, and an outage looks like a missing file."""
LIST_UPLOADS = Grant("ListUploads", BUCKET, "ListBucket")
"""To find uploads that no push has accepted yet, without reading them."""
READ_BYTES = Grant("ReadBytes", STORED, "GetObject")
WRITE_BYTES = Grant("WriteBytes", STORED, "PutObject")
SIGN_UPLOADS = Grant("SignUploads", UPLOADS, "PutObject")
"""A signed URL has the permission of the role that signs it."""
READ_UPLOADS = Grant("ReadUploads", UPLOADS, "GetObject GetObjectVersion")
"""A push copies the version of an upload that it verified: the URL may write another meanwhile."""
SIGN_STAGED = Grant("SignBodies", STAGED, "PutObject")
READ_STAGED = Grant("ReadStagedBodies", STAGED, "GetObject")

# ── Upkeep ──────────────────────────────────────────────────────────────────────────────────────

COUNT_CLONES_AND_USAGE = Grant("CountClonesAndUsage", COUNTERS, "GetItem BatchGetItem UpdateItem")
KEEP_ROWS = (
    Grant("UpdateRows", HUB, "UpdateItem", (REPO, f"{REPO}#*", OWNERS)),
    Grant("CheckState", HUB, "ConditionCheckItem", (UPKEEP,)),
    Grant("RecordStateAndListUpkeep", HUB, "BatchWriteItem", (UPKEEP, DUE)),
    Grant("DeleteRows", HUB, "DeleteItem", (REPO, f"{REPO}#*", MEMBERS, DELETED, DUE)),
)
"""For all rows of repositories, and no token."""
LIST_VERSIONS = Grant("ListVersions", BUCKET, "ListBucket ListBucketVersions")
# A batch of deletions needs both, also if each of them names a version.
DELETE_BYTES = Grant("DeleteBytes", STORED, "DeleteObject DeleteObjectVersion")
DELETE_UPLOADS = Grant("DeleteUploads", UPLOADS, "DeleteObject DeleteObjectVersion")
