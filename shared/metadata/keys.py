"""Every key of the two tables.

    row                  pk                          sk
    repo                 OWNER#<owner>               REPO#<slug>
    ref                  REPO#<repo_id>              REF#<branch>
    folder of refs       REPO#<repo_id>              REF#<folder>              see `refs`
    commit, by id        REPO#<repo_id>#C<shard>     <commit_id>
    commit, in its lane  REPO#<repo_id>#LANE#<lane>  <generation>#<commit_id>
    snapshot             REPO#<repo_id>#S<shard>     <snapshot_id>
    object               REPO#<repo_id>#O<shard>     <object_id>

    counter              <class>#<subject>#<window>  –                         both in the other table,
    refused              REFUSED#<repo_id>#<subject> –                         where every row expires

`shard` is the first hex digit of a hash of the id: sixteen partitions a kind, so that one repository can
write 16,000 rows a second. `generation` is twelve digits wide: text sorts as the number does.
"""

from hashlib import sha256

from shared.model import Kind, Place

Key = tuple[str, ...]

REF = "REF#"
SHARDS = "0123456789abcdef"


def repo(owner: str, slug: str) -> Key:
    """A repository, by the name in its URL."""
    return f"OWNER#{owner}", f"REPO#{slug}"


def refs(repo_id: str) -> str:
    """The partition of a repository's refs."""
    return f"REPO#{repo_id}"


def ref(repo_id: str, branch: str) -> Key:
    """One branch, or a folder of branches."""
    return refs(repo_id), f"{REF}{branch}"


def shard(item_id: str) -> str:
    """Which of the sixteen partitions an id lies in. Hashed once more: opaque ids are not spread evenly."""
    return sha256(item_id.encode()).hexdigest()[0]


def by_id(repo_id: str, kind: Kind, item_id: str) -> Key:
    """Where the index says what is known of an id."""
    return index(repo_id, kind, shard(item_id)), item_id


def index(repo_id: str, kind: Kind, shard: str) -> str:
    """One partition of an index."""
    return f"REPO#{repo_id}#{kind.value}{shard}"


def kind_of(pk: str) -> Kind:
    """Whose index a partition belongs to."""
    return Kind(pk[-2])


def lane(repo_id: str, name: str) -> str:
    """The partition of a lane."""
    return f"REPO#{repo_id}#LANE#{name}"


def in_lane(place: Place) -> str:
    """The sort key of a commit in its lane."""
    return f"{place.generation:012d}#{place.commit_id}"


def commit(repo_id: str, place: Place) -> Key:
    """A commit's row."""
    return lane(repo_id, place.lane), in_lane(place)


def counter(limit_class: str, subject: str, window: int) -> Key:
    """How often a subject has asked in one window of time."""
    return (f"{limit_class}#{subject}#{window}",)


def refused(repo_id: str, subject: str) -> Key:
    """What a subject pushed last without success."""
    return (f"REFUSED#{repo_id}#{subject}",)
