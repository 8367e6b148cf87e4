"""Every key of the two tables.

    row                  pk                          sk
    repo                 OWNER#<owner>               REPO#<slug>
    listed repo          LISTED#<owner>              <visibility>#<slug>       see `listing`
    public repo          RECENT                      <created at>#<repo_id>    see `listing`
    member               MEMBERS#<owner>             <slug>#<handle>
    membership           MEMBERS#<owner>             @<handle>#<slug>          see `listing`
    token                TOKENS#<handle>             <jti>
    handle               HANDLE#<folded handle>      HANDLE
    identity             IDENTITY#<hash>             IDENTITY                  see `identities`
    repo, by id          REPO#<repo_id>              NAME
    deleted repo         DELETED                     <owner>/<repo_id>         until it is purged
    domain               DOMAINS                     <author>/<slug>
    ref                  REPO#<repo_id>              REF#<branch>
    folder of refs       REPO#<repo_id>              REF#<folder>              see `refs`
    bundle               REPO#<repo_id>              REF-BUNDLE                read with the refs
    move of a ref        REPO#<repo_id>#MOVES        <branch>//<step>          no branch has `//`
    state of upkeep      REPO#<repo_id>#GC           STATE
    visit of upkeep      REPO#<repo_id>#GC           VISIT
    due upkeep           DUE                         <epoch second>#<work>#<repo_id>
    last run of upkeep   DUE                         LAST-RUN
    lane                 REPO#<repo_id>#LANES        <lane>                    before its first row
    release              REPO#<repo_id>#RELEASES     TAG#<tag>
    release, by time     REPO#<repo_id>#RELEASES     TIME#<microseconds>#<tag>#<unique>
    tag                  REPO#<repo_id>#TAGS         <tag_id>
    trusted issuer       REPO#<repo_id>#ISSUERS      <trust_id>
    commit, by id        REPO#<repo_id>#C<shard>     <commit_id>
    commit, in its lane  REPO#<repo_id>#LANE#<lane>  <generation>#<commit_id>
    snapshot             REPO#<repo_id>#S<shard>     <snapshot_id>
    object               REPO#<repo_id>#O<shard>     <object_id>

    counter              <class>#<subject>#<window>  –                         these rows are
    cost                 COST#<kind>#<name>#<day>    –                         in a table whose rows
    refused              REFUSED#<repo_id>#<subject> –                         expire
    costly clones        CLONES#<day>                –
    sign-in              SIGNIN#<state>              –
    usage                USAGE#<owner>               –

`shard` is the first hex digit of a hash of the id. Each kind has sixteen partitions, so that one
repository can write 16,000 rows per second. `generation` has twelve digits, so that its text sorts
like the number. Members and tokens have partitions of their own, because an IAM policy can restrict
access to partitions only: a function that may create a repository cannot write a role or a token.
"""

from collections.abc import Iterable
from hashlib import sha256

from shared.model import CommitAddress, CommitId, Kind, Scope

Key = tuple[str, ...]

REF = "REF#"
REF_OR_PREBUILT = "REF"
"""The common prefix of the sort keys of the refs and of the bundle; no other row has it."""
REPO = "REPO#"
HANDLE = "HANDLE#"
IDENTITY = "IDENTITY#"
OWNER = "OWNER#"
MEMBERS = "MEMBERS#"
MEMBERSHIP = "@"
"""The first character of the sort keys of memberships. No slug begins with it."""
DELETED = "DELETED"
"""The partition of the deleted repositories that are not purged yet."""
DOMAINS = "DOMAINS"
"""The partition of the published domains."""
DUE = "DUE"
"""The partition of due upkeep, in the order of time."""
LAST_RUN = (DUE, "LAST-RUN")
"""The result of the last run of upkeep. Sorts after all times."""
RECENT = "RECENT"
"""The partition of the public repositories, in the order of their creation."""
SHARDS = "0123456789abcdef"


def repo(owner: str, slug: str) -> Key:
    """A repository, by the name in its URL."""
    return f"{OWNER}{owner}", f"{REPO}{slug}"


def owner(handle: str) -> str:
    """The partition of a user's repositories, by name."""
    return f"{OWNER}{handle}"


def listed(owner: str, visibility: str, slug: str = "") -> tuple[str, str]:
    """A listed repository. Without a slug: the partition and the prefix of this visibility."""
    return f"LISTED#{owner}", f"{visibility}#{slug}"


def recent(created_at: int, repo_id: str) -> Key:
    """A public repository. `created_at`: epoch seconds."""
    return RECENT, f"{created_at:012d}#{repo_id}"


def memberships(owner: str, handle: str) -> tuple[str, str]:
    """The partition and the sort key prefix of the repositories of which a user is a member."""
    return f"{MEMBERS}{owner}", f"{MEMBERSHIP}{handle}#"


def membership(owner: str, slug: str, handle: str) -> Key:
    """A repository in the list of a member."""
    pk, prefix = memberships(owner, handle)
    return pk, f"{prefix}{slug}"


def members(owner: str, slug: str) -> Key:
    """The partition and the sort key prefix of the members of a repository.

    Each row has the roster that it belongs to.
    """
    return f"MEMBERS#{owner}", f"{slug}#"


def member(owner: str, slug: str, handle: str) -> Key:
    """The role of one user in a repository of another."""
    return f"MEMBERS#{owner}", f"{slug}#{handle}"


def members_generation(repo_id: str, unique: str = "") -> str:
    """The roster of a repository, which marks its member rows. Each rename makes a new one."""
    return f"{repo_id}#{unique}" if unique else repo_id


def repo_of_members_generation(members_generation: str) -> str:
    """The id of the repository of a roster."""
    return members_generation.partition("#")[0]


def token(handle: str, token_id: str) -> Key:
    """A token that was issued to a user."""
    return tokens(handle), token_id


def tokens(handle: str) -> str:
    """The partition of a user's tokens."""
    return f"TOKENS#{handle}"


def handle(name: str) -> Key:
    """The claim of a handle, whatever its letter case is."""
    return f"{HANDLE}{name.casefold()}", "HANDLE"


def identity(hash_of_user: str) -> Key:
    """The handle of a user of an identity provider."""
    return f"{IDENTITY}{hash_of_user}", "IDENTITY"


def name(repo_id: str) -> Key:
    """The row with the name of a repository id."""
    return f"REPO#{repo_id}", "NAME"


def deleted(owner: str, repo_id: str = "") -> Key:
    """A deleted repository that is not purged yet. Without an id: the prefix of the owner's."""
    return DELETED, f"{owner}/{repo_id}"


def domain(author: str, slug: str) -> Key:
    """A published domain."""
    return DOMAINS, f"{author}/{slug}"


def moves(repo_id: str) -> str:
    """The partition of the moves of a repository's refs."""
    return f"REPO#{repo_id}#MOVES"


def move(repo_id: str, branch: str, step: str) -> Key:
    """One move of a branch. With an empty step: the sort key prefix of all moves of the branch."""
    return moves(repo_id), f"{branch}//{step}"


def upkeep(repo_id: str) -> str:
    """The partition with the state of gc, rebuild and repack."""
    return f"REPO#{repo_id}#GC"


def visit(repo_id: str) -> Key:
    """The last visit of upkeep to a repository."""
    return upkeep(repo_id), "VISIT"


def due(at: int, work: str, repo_id: str) -> Key:
    """Work on a repository that is due at an epoch second."""
    return DUE, f"{at:012d}#{work}#{repo_id}"


def refs(repo_id: str) -> str:
    """The partition of a repository's refs."""
    return f"REPO#{repo_id}"


def ref(repo_id: str, branch: str) -> Key:
    """One branch, or a folder of branches."""
    return refs(repo_id), f"{REF}{branch}"


def prebuilt(repo_id: str) -> Key:
    """The prebuilt clone of a repository."""
    return refs(repo_id), "REF-BUNDLE"


def releases(repo_id: str) -> str:
    """The partition of a repository's releases."""
    return f"REPO#{repo_id}#RELEASES"


def release(repo_id: str, tag: str) -> Key:
    """The release that is published under a tag."""
    return releases(repo_id), f"TAG#{tag}"


def tags(repo_id: str) -> str:
    """The partition of a repository's tags."""
    return f"REPO#{repo_id}#TAGS"


def trusted_issuers(repo_id: str) -> str:
    """The partition of the trusted issuers of a repository."""
    return f"REPO#{repo_id}#ISSUERS"


def trusted_issuer(repo_id: str, trust_id: str) -> Key:
    """An issuer whose ID tokens the repository accepts."""
    return trusted_issuers(repo_id), trust_id


def shard(item_id: str) -> str:
    """The partition of an id, chosen by a hash, because opaque ids have no even spread."""
    return sha256(item_id.encode()).hexdigest()[0]


def by_id(repo_id: str, kind: Kind, item_id: str) -> Key:
    """The row of an id in its index."""
    return index(repo_id, kind, shard(item_id)), item_id


def by_ids(repo_id: str, kind: Kind, item_ids: Iterable[str]) -> list[Key]:
    """The rows of ids of one kind. Half the time of single calls of `by_id`."""
    start = index(repo_id, kind, "")
    return [(start + shard(item_id), item_id) for item_id in item_ids]


def index(repo_id: str, kind: Kind, shard: str) -> str:
    """One partition of an index."""
    return f"REPO#{repo_id}#{kind.value}{shard}"


def kind_of(pk: str) -> Kind:
    """The kind of the index that a partition belongs to."""
    return Kind(pk[-2])


def lane(repo_id: str, name: str) -> str:
    """The partition of a lane."""
    return f"REPO#{repo_id}#LANE#{name}"


def lanes(repo_id: str) -> str:
    """The partition with the list of the lanes of a repository."""
    return f"REPO#{repo_id}#LANES"


def in_lane(address: CommitAddress) -> str:
    """The sort key of a commit in its lane."""
    return f"{address.generation:012d}#{address.commit_id}"


def address_text(address: CommitAddress) -> str:
    """A place as text, for an attribute of another row."""
    return f"{in_lane(address)}#{address.lane}"


def parse_address(text: str) -> CommitAddress:
    """The inverse of `address_text`."""
    generation, commit_id, lane = text.split("#", 2)
    return CommitAddress(CommitId(commit_id), int(generation), lane)


def commit(repo_id: str, address: CommitAddress) -> Key:
    """A commit's row."""
    return lane(repo_id, address.lane), in_lane(address)


def counter(limit_class: str, subject: str, window: int) -> Key:
    """The number of requests of a subject in one window of time."""
    return (f"{limit_class}#{subject}#{window}",)


def cost(scope: Scope) -> Key:
    """The cost of requests within one day."""
    return (f"COST#{scope.kind}#{scope.name}#{scope.day}",)


def sign_in(state: str) -> Key:
    """A sign-in that a callback has ended."""
    return (f"SIGNIN#{state}",)


def usage(owner: str) -> Key:
    """The usage of an owner."""
    return (f"USAGE#{owner}",)


def refused(repo_id: str, subject: str) -> Key:
    """The last refused push of a subject."""
    return (f"REFUSED#{repo_id}#{subject}",)


def clones(day: int) -> Key:
    """The costly clones of a day, which counts from the epoch."""
    return (f"CLONES#{day}",)
