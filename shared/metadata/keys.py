"""Every key of the two tables.

    row                  pk                          sk
    repo                 OWNER#<owner>               REPO#<slug>
    listed repo          LISTED#<owner>              <visibility>#<slug>       see `listing`
    member               MEMBERS#<owner>             <slug>#<handle>
    membership           MEMBERS#<owner>             @<handle>#<slug>          see `listing`
    token                TOKENS#<handle>             <jti>
    handle               HANDLE#<folded handle>      HANDLE
    repo, by id          REPO#<repo_id>              NAME
    deleted repo         DELETED                     <repo_id>                 until it is purged
    ref                  REPO#<repo_id>              REF#<branch>
    folder of refs       REPO#<repo_id>              REF#<folder>              see `refs`
    bundle               REPO#<repo_id>              REF-BUNDLE                read along with the refs
    move of a ref        REPO#<repo_id>#MOVES        <branch>//<step>          no branch has two slashes in a row
    state of upkeep      REPO#<repo_id>#GC           STATE
    lane                 REPO#<repo_id>#LANES        <lane>                    before its first row
    release              REPO#<repo_id>#RELEASES     TAG#<tag>
    release, by time     REPO#<repo_id>#RELEASES     TIME#<microseconds>#<tag>#<unique>
    tag                  REPO#<repo_id>#TAGS         <tag_id>
    commit, by id        REPO#<repo_id>#C<shard>     <commit_id>
    commit, in its lane  REPO#<repo_id>#LANE#<lane>  <generation>#<commit_id>
    snapshot             REPO#<repo_id>#S<shard>     <snapshot_id>
    object               REPO#<repo_id>#O<shard>     <object_id>

    counter              <class>#<subject>#<window>  –                         these three in the other table,
    cost                 COST#<kind>#<name>#<day>    –                         where every row expires
    refused              REFUSED#<repo_id>#<subject> –

`shard` is the first hex digit of a hash of the id: sixteen partitions a kind, so that one repository can
write 16,000 rows a second. `generation` is twelve digits wide: text sorts as the number does. Members and tokens
have partitions of their own, since a policy can name partitions and nothing finer: who may create a repository
cannot thereby write a role or a token.
"""

from hashlib import sha256

from shared.model import Kind, Place, Scope

Key = tuple[str, ...]

REF = "REF#"
REF_OR_BUNDLE = "REF"
"""What the sort keys of refs and of the bundle begin with, and no others of their partition."""
REPO = "REPO#"
HANDLE = "HANDLE#"
OWNER = "OWNER#"
MEMBERS = "MEMBERS#"
MEMBERSHIP = "@"
"""The beginning of the sort keys of memberships. No slug begins so."""
DELETED = "DELETED"
"""The partition of the repositories that wait for their purge."""
SHARDS = "0123456789abcdef"


def repo(owner: str, slug: str) -> Key:
    """A repository, by the name in its URL."""
    return f"{OWNER}{owner}", f"{REPO}{slug}"


def owner(handle: str) -> str:
    """The partition of a user's repositories, by name."""
    return f"{OWNER}{handle}"


def listed(owner: str, visibility: str, slug: str = "") -> tuple[str, str]:
    """A repository as it is listed; without a slug, where those of a visibility are: the partition and the beginning of
    their sort keys."""
    return f"LISTED#{owner}", f"{visibility}#{slug}"


def memberships(owner: str, handle: str) -> tuple[str, str]:
    """Where the repositories of which a user is a member are listed: the partition and the beginning of their keys."""
    return f"{MEMBERS}{owner}", f"{MEMBERSHIP}{handle}#"


def membership(owner: str, slug: str, handle: str) -> Key:
    """A repository in the list of a member."""
    pk, prefix = memberships(owner, handle)
    return pk, f"{prefix}{slug}"


def members(owner: str, slug: str) -> Key:
    """Where the members of a repository are listed: the partition, and what their sort keys begin with.

    Each row says of which roster it is.
    """
    return f"MEMBERS#{owner}", f"{slug}#"


def member(owner: str, slug: str, handle: str) -> Key:
    """What one user may do to a repository of another."""
    return f"MEMBERS#{owner}", f"{slug}#{handle}"


def roster(repo_id: str, unique: str = "") -> str:
    """What the rows of a repository's members carry: another under each of its names."""
    return f"{repo_id}#{unique}" if unique else repo_id


def of_roster(roster: str) -> str:
    """Whose roster it is: the repository's id."""
    return roster.partition("#")[0]


def token(handle: str, token_id: str) -> Key:
    """A token that was issued to a user."""
    return tokens(handle), token_id


def tokens(handle: str) -> str:
    """The partition of a user's tokens."""
    return f"TOKENS#{handle}"


def handle(name: str) -> Key:
    """Who has claimed a handle, in whatever letter case."""
    return f"{HANDLE}{name.casefold()}", "HANDLE"


def name(repo_id: str) -> Key:
    """What a repository id is called."""
    return f"REPO#{repo_id}", "NAME"


def deleted(repo_id: str) -> Key:
    """A repository whose rows and bytes are still to be removed."""
    return DELETED, repo_id


def moves(repo_id: str) -> str:
    """The partition of the moves of a repository's refs."""
    return f"REPO#{repo_id}#MOVES"


def move(repo_id: str, branch: str, step: str) -> Key:
    """One move of a branch. With an empty step, what the sort keys of all moves of the branch begin with."""
    return moves(repo_id), f"{branch}//{step}"


def upkeep(repo_id: str) -> str:
    """The partition where gc, rebuild and repack write down how far they are."""
    return f"REPO#{repo_id}#GC"


def refs(repo_id: str) -> str:
    """The partition of a repository's refs."""
    return f"REPO#{repo_id}"


def ref(repo_id: str, branch: str) -> Key:
    """One branch, or a folder of branches."""
    return refs(repo_id), f"{REF}{branch}"


def bundle(repo_id: str) -> Key:
    """What a clone is answered with, if that was made ready."""
    return refs(repo_id), "REF-BUNDLE"


def releases(repo_id: str) -> str:
    """The partition of a repository's releases."""
    return f"REPO#{repo_id}#RELEASES"


def release(repo_id: str, tag: str) -> Key:
    """What is published under a tag."""
    return releases(repo_id), f"TAG#{tag}"


def tags(repo_id: str) -> str:
    """The partition of a repository's tags."""
    return f"REPO#{repo_id}#TAGS"


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


def lanes(repo_id: str) -> str:
    """The partition that lists the lanes of a repository."""
    return f"REPO#{repo_id}#LANES"


def in_lane(place: Place) -> str:
    """The sort key of a commit in its lane."""
    return f"{place.generation:012d}#{place.commit_id}"


def place_text(place: Place) -> str:
    """A place as one attribute of another row."""
    return f"{in_lane(place)}#{place.lane}"


def parse_place(text: str) -> Place:
    """The inverse of `place_text`."""
    generation, commit_id, lane = text.split("#", 2)
    return Place(commit_id, int(generation), lane)


def commit(repo_id: str, place: Place) -> Key:
    """A commit's row."""
    return lane(repo_id, place.lane), in_lane(place)


def counter(limit_class: str, subject: str, window: int) -> Key:
    """How often a subject has asked in one window of time."""
    return (f"{limit_class}#{subject}#{window}",)


def cost(scope: Scope) -> Key:
    """What requests have cost within one day."""
    return (f"COST#{scope.kind}#{scope.name}#{scope.day}",)


def refused(repo_id: str, subject: str) -> Key:
    """What a subject pushed last without success."""
    return (f"REFUSED#{repo_id}#{subject}",)
