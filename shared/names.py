"""Rules for names that are safe in a clone.

The stock client does not check names: it writes branches and ids to files of these names, and
manifest paths into its working tree. Each rule here refuses names that made a clone crash or write
outside its folder in a test.
"""

import json
import re
import unicodedata
from collections.abc import Collection, Iterable
from itertools import pairwise
from typing import TypeVar

from shared.errors import BranchClash, InvalidName, RepoNotFound, TooLarge

Id = TypeVar("Id", bound=str)

DIGEST_LENGTH = 64
BRANCHES = 4_000
"""The most branches of a repository: with the longest names, `GET refs` still fits into one reply
of Lambda."""
BRANCH_CHARACTERS = 255
BRANCH_BYTES = 950
"""The rest of the 1,024 bytes of a sort key: the name of a lane consists of a branch and a pack."""
COMPONENT_BYTES = 255
PATH_BYTES = 4096
LABEL_CHARACTERS = 500
RELEASE_TAG_CHARACTERS = 100

SLUG_CHARACTERS = 64

RESERVED_HANDLES = frozenset(
    "about account accounts admin administrator api app assets auth billing blog cdn commits"
    " dashboard docs domains explore favicon.ico favicon.png files graphql health healthz help home"
    " hub humans.txt internal invite issues legal login logout mail mcp metrics musehub new"
    " notifications o oauth oembed openapi openapi.json orgs owner pages pieria pricing privacy"
    " public raw register releases repos robots.txt root search security settings signin signup"
    " sitemap.xml static status support swagger system tags teams terms token tokens topics"
    " trending user users v1 v2 v3 webhook webhooks well-known wire www".split()
)
"""Handles that cannot be claimed, in lower case: first segments of the hub's own URLs, present or
future, and names that a visitor could mistake for the hub itself."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_DIGEST_LIKE = re.compile(r"[0-9A-Fa-f]{64}")
_SHORT_ID = re.compile(r"[0-9a-f]{7,63}")
_OPAQUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_MISTYPED_DIGEST = re.compile(r"sha256:.*|.{63,65}|.*[0-9A-Fa-f]{60}.*")
_REPO_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME_RULE = "1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or a digit"
_NOT_IN_A_SLUG = re.compile(r"[^a-z0-9]+")
_RELEASE_TAG = re.compile(r"(?!.*\.\.|.*//)[A-Za-z0-9]([A-Za-z0-9._+/-]*[A-Za-z0-9_+-])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BAD_PATH_SHAPE = re.compile(r"\\|^/|/$|//|(?:^|/)\.\.?(?:/|$)")
_BAD_BRANCH_SHAPE = re.compile(r"\\|\.\.|//|^/|/$|(?:^|/)\.|\.(?:/|$)")
# HFS+ ignores these characters when it compares names, so `.g<200c>it` is `.git` on a Mac.
IGNORED_ON_HFS = re.compile(r"[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
# Windows ignores trailing dots and spaces. A colon separates a file from the name of its stream.
_PRIVATE_FOLDER = re.compile(r"(?:^|/)(\.git|\.muse|git~1|muse~1)[. ]*(?:[/:]|\Z)")


def is_digest(value: str) -> bool:
    """Whether this is 64 lower-case hex digits: an id that the hub verifies against its content."""
    return _DIGEST.fullmatch(value) is not None


def is_short_id(value: str) -> bool:
    """Whether this may be the beginning of a digest: 7 to 63 hex digits, as clients print ids."""
    return _SHORT_ID.fullmatch(value) is not None


def is_id(value: str) -> bool:
    """Whether this may be the id of an object, snapshot or commit: a digest, or a short opaque id.

    A text that looks like a malformed digest (upper case, a digit too few or too many, a `sha256:`
    prefix) is refused. It would be stored without verification, although it looks like a verified
    id.
    """
    if is_digest(value):
        return True
    return _OPAQUE.fullmatch(value) is not None and _MISTYPED_DIGEST.fullmatch(value) is None


def check_id(value: Id, kind: str) -> Id:
    """Return the id. Raises InvalidName with the `kind` that was expected."""
    if not is_id(value):
        article = "an" if kind == "object" else "a"
        raise InvalidName(
            f"{shown(value)} is not {article} {kind} id: 64 lower-case hex digits are expected"
        )
    return value


def is_repo_name(value: str) -> bool:
    """Whether this may be the handle of an owner or the slug of a repository in a URL."""
    return _REPO_NAME.fullmatch(value) is not None


def is_handle(value: str) -> bool:
    """Whether this may be claimed as a handle: a valid name that is not reserved."""
    return is_repo_name(value) and value.casefold() not in RESERVED_HANDLES


def check_handle(value: str) -> str:
    """Return the handle. Raises InvalidName."""
    if not is_repo_name(value):
        raise InvalidName(f"{shown(value)} is not a handle: {_NAME_RULE}")
    if not is_handle(value):
        raise InvalidName(_reserved(value))
    return value


def repo_not_found(owner: str) -> RepoNotFound:
    """The refusal of a request for a repository of this owner. It states why a reserved handle
    has none.
    """
    if owner.casefold() in RESERVED_HANDLES:
        return RepoNotFound(f"repository not found: {_reserved(owner)}, as in /alice/song")
    return RepoNotFound()


def _reserved(handle: str) -> str:
    return (
        f"the handle {handle} is reserved for URLs of the hub itself, now or in a later version;"
        " use another one"
    )


def check_slug(value: str) -> str:
    """Return the slug. Raises InvalidName."""
    if not is_repo_name(value):
        raise InvalidName(f"{shown(value)} cannot be a repository's name in a URL: {_NAME_RULE}")
    return value


def check_domain_slug(value: str) -> str:
    """Return the slug of a domain. Raises InvalidName."""
    if not is_repo_name(value):
        raise InvalidName(f"{shown(value)} cannot be a domain's name in a URL: {_NAME_RULE}")
    return value


def slug_of(name: str) -> str:
    """Make a slug of a repository's name: `My 1st Song!` → `my-1st-song`. Raises InvalidName."""
    slug = _NOT_IN_A_SLUG.sub("-", name.lower())[:SLUG_CHARACTERS].strip("-")
    if not slug:
        raise InvalidName(
            f"{shown(name)} has no characters that are allowed in a URL; send a slug as well"
        )
    return slug


def check_default_branch(name: str) -> str:
    """Return the branch name if a clone can start on it. Raises InvalidName."""
    if "/" in check_branch(name):
        raise InvalidName(
            f"{shown(name)} cannot be the default branch: a clone opens only names without a slash"
        )
    return name


def is_release_tag(value: str) -> bool:
    """Whether this may be the tag of a release: `v1.0.0-beta.1+b7`, `song/2.0.0`; no `%`, no
    `..`.
    """
    return len(value) <= RELEASE_TAG_CHARACTERS and _RELEASE_TAG.fullmatch(value) is not None


def check_release_tag(tag: str) -> str:
    """Return the tag of a release. Raises InvalidName."""
    if not is_release_tag(tag):
        raise InvalidName(
            f"{shown(tag)} cannot be a release's tag: up to {RELEASE_TAG_CHARACTERS} letters,"
            " digits and . _ + - /, beginning with a letter or digit"
        )
    return tag


def check_label(label: str) -> str:
    """Return the label of a tag.

    Raises InvalidName if it is empty, long or has control characters.
    """
    if not 1 <= len(label) <= LABEL_CHARACTERS or _CONTROL.search(label):
        raise InvalidName(
            f"{shown(label)} cannot be a label: 1 to {LABEL_CHARACTERS} characters, none of them a"
            " control character"
        )
    return label


def check_branch(name: str) -> str:
    """Return the branch name. Raises InvalidName with the rule that it breaks."""
    if not 1 <= len(name) <= BRANCH_CHARACTERS:
        raise InvalidName(
            f"a branch name has 1 to {BRANCH_CHARACTERS} characters, this one has {len(name)}"
        )
    if _CONTROL.search(name) or _BAD_BRANCH_SHAPE.search(name):
        raise InvalidName(
            f"branch name {shown(name)} is unsafe: no control characters, backslashes, empty parts,"
            " '..', or parts that begin or end with a dot"
        )
    if _DIGEST_LIKE.fullmatch(name.partition("/")[0]):
        raise InvalidName(
            f"branch name {shown(name)} begins with 64 hex digits, which is the form of a commit's"
            " id; choose another name"
        )
    if len(name.encode()) > BRANCH_BYTES:
        raise InvalidName(f"branch name {shown(name)} is longer than {BRANCH_BYTES} bytes")
    if any(len(part.encode()) > COMPONENT_BYTES for part in name.split("/")):
        raise InvalidName(
            f"a part of branch name {shown(name)} is longer than {COMPONENT_BYTES} bytes"
        )
    return name


def fold(name: str) -> str:
    """Map all names that some file system treats as equal to the same text.

    File systems may ignore letter case and normalise Unicode. `fold(fold(name)) == fold(name)`.
    """
    if name.isascii():
        return name.lower()
    decomposed = unicodedata.normalize("NFD", IGNORED_ON_HFS.sub("", name))
    # Some characters fold to characters that change when they are folded again.
    folded = unicodedata.normalize("NFD", decomposed.casefold()).casefold()
    return unicodedata.normalize("NFC", folded)


def check_no_branch_clash(name: str, existing: Collection[str]) -> None:
    """Raise BranchClash if some file system cannot store a new branch next to existing ones.

    An existing branch is always accepted, even if an older version accepted a branch of the same
    name in another letter case. Raises InvalidName if the folded name does not fit into a key.
    """
    if name in existing:
        return
    folded = fold(name)
    if len(folded.encode()) > BRANCH_BYTES:
        raise InvalidName(
            f"branch name {shown(name)} is longer than {BRANCH_BYTES} bytes in lower case"
        )
    for other in existing:
        key = fold(other)
        if key == folded or key.startswith(folded + "/") or folded.startswith(key + "/"):
            raise BranchClash(name, other)


def check_room_for_branch(name: str, existing: Collection[str]) -> None:
    """Raise TooLarge if `name` is a new branch and the repository has no room for it."""
    if name not in existing and len(existing) >= BRANCHES:
        raise TooLarge(
            f"a repository may have {BRANCHES} branches, and this one has {len(existing)}: delete"
            " branches that are merged (DELETE /api/v1/repos/OWNER/NAME/branches?branch=…), then"
            " push again"
        )


def folders(name: str) -> list[str]:
    """The proper prefixes of a name at its slashes: `a/b/c` → `a`, `a/b`."""
    parts = name.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def check_paths(paths: Iterable[str], checked: set[str]) -> None:
    """Raise InvalidName for the first path of a manifest that a checkout cannot or must not write.

    `checked` has the paths of earlier manifests of the same push, and gets those of this one: most
    paths are in each snapshot of a history.
    """
    seen = set(paths)
    for path in seen - checked:
        _check_path(path)
        checked.add(path)
    # In sorted order, a path follows its folder directly. A check of each folder of each path would
    # take time quadratic in the depth.
    for folder, inner in pairwise(sorted(f"{path}/" for path in seen)):
        if inner.startswith(folder):
            raise InvalidName(
                f"path {shown(folder[:-1])} is a file and also a folder of {shown(inner[:-1])}"
            )


def _check_path(path: str) -> None:
    encoded = path.encode()
    if not 1 <= len(encoded) <= PATH_BYTES:
        raise InvalidName(f"a path has 1 to {PATH_BYTES} bytes; {shown(path)} does not")
    if _CONTROL.search(path) or _BAD_PATH_SHAPE.search(path):
        raise InvalidName(
            f"path {shown(path)} is unsafe: relative paths only,"
            " no control characters, backslashes, empty parts, '.' or '..'"
        )
    if max(map(len, encoded.split(b"/"))) > COMPONENT_BYTES:
        raise InvalidName(f"a part of path {shown(path)} is longer than {COMPONENT_BYTES} bytes")
    private = _PRIVATE_FOLDER.search(IGNORED_ON_HFS.sub("", path).casefold())
    if private:
        raise InvalidName(f"path {shown(path)} would write into a clone's own {private[1]} folder")


def shown(text: str, room: int = 60) -> str:
    """Quote an untrusted text as one line of ASCII of at most `room` characters in JSON."""
    kept = text[:40]
    while len(kept) > 1 and len(json.dumps(_quoted(kept, text))) - 2 > room:
        kept = kept[:-1]
    return _quoted(kept, text)


def _quoted(kept: str, text: str) -> str:
    return ascii(text if kept == text else kept[:-1] + "…")
