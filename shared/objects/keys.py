"""Every key of the bucket.

    object          key
    pack            repos/<repo_id>/packs/<SHA-256 of the pack>      see `packs`
    loose object    repos/<repo_id>/objects/<object_id>
    prebuilt clone  repos/<repo_id>/bundles/<SHA-256 of the clone>   see `maintenance`
    upload          uploads/<repo_id>/<object_id>                    see `quarantine`
    staged body     uploads/<repo_id>/staged/<random name>           see `staging`

The objects of a repository and its quarantine have two prefixes, because an IAM policy and a
lifecycle rule select objects by prefix: uploads expire, and a client may write only there.
"""

REPOS = "repos/"
UPLOADS = "uploads/"
"""The prefix of the quarantine. The lifecycle of the bucket deletes its old objects."""
_STAGED = "staged/"

ALL_STORED = f"{REPOS}*"
ALL_UPLOADS = f"{UPLOADS}*"
ALL_STAGED = f"{UPLOADS}*/{_STAGED}*"
"""These three are patterns for IAM policies."""


def stored(repo_id: str) -> str:
    """The prefix of everything that a repository has outside its quarantine."""
    return f"{REPOS}{repo_id}/"


def packs(repo_id: str) -> str:
    """The prefix of a repository's packs."""
    return f"{stored(repo_id)}packs/"


def pack(repo_id: str, name: str) -> str:
    """A pack."""
    return f"{packs(repo_id)}{name}"


def loose_objects(repo_id: str) -> str:
    """The prefix of a repository's loose objects."""
    return f"{stored(repo_id)}objects/"


def loose(repo_id: str, object_id: str) -> str:
    """A loose object."""
    return f"{loose_objects(repo_id)}{object_id}"


def prebuilt_clones(repo_id: str) -> str:
    """The prefix of a repository's prebuilt clones."""
    return f"{stored(repo_id)}bundles/"


def prebuilt(repo_id: str, name: str) -> str:
    """A prebuilt clone."""
    return f"{prebuilt_clones(repo_id)}{name}"


def uploads(repo_id: str) -> str:
    """The prefix of a repository's quarantine, with its staged bodies."""
    return f"{UPLOADS}{repo_id}/"


def upload(repo_id: str, object_id: str) -> str:
    """An upload of an object."""
    return f"{uploads(repo_id)}{object_id}"


def staged_bodies(repo_id: str) -> str:
    """The prefix of a repository's staged bodies.

    It sorts after all digests, for which the quarantine is listed. The id of an object has no
    slash, so no upload has this prefix.
    """
    return f"{uploads(repo_id)}{_STAGED}"


def staged(repo_id: str, name: str) -> str:
    """A staged body of a request."""
    return f"{staged_bodies(repo_id)}{name}"
