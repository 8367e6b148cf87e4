"""Well-formed requests whose content cannot be accepted. Status 422."""

from collections.abc import Iterable

from shared.errors.base import ApiError
from shared.texts import summarize


class Unprocessable(ApiError):
    """The request is well-formed, but it cannot be accepted as it is."""

    status = 422
    code = "invalid"


class InvalidName(Unprocessable):
    """An unsafe name: a clone would write outside its folder, or crash."""

    code = "invalid_name"


class HashMismatch(Unprocessable):
    """An id of 64 hex digits that is not the SHA-256 of its content."""

    code = "hash_mismatch"

    def __init__(self, kind: str, given: str, computed: str) -> None:
        if kind in ("commit", "snapshot"):
            remedy = "commit again"
        else:
            remedy = "restore the file if damaged, then push again"
        super().__init__(
            f"{kind} {given} does not match its content, which hashes to {computed}; {remedy}"
        )


class MissingReference(Unprocessable):
    """Ids that are neither in the request nor in the repository. `way_out` is the next step."""

    code = "missing_reference"

    def __init__(
        self,
        kind: str,
        missing: Iterable[str],
        way_out: str = "push again with everything included",
    ) -> None:
        super().__init__(f"{kind} {summarize(missing)} neither pushed nor stored here; {way_out}")


class AmbiguousCommit(Unprocessable):
    """A short id with which the ids of several commits begin."""

    code = "ambiguous_commit"


class UploadsPending(Unprocessable):
    """More uploads than one push verifies. The verified ones are stored; a retry verifies more."""

    code = "uploads_pending"

    def __init__(self, verified: int, left: int) -> None:
        super().__init__(
            f"{verified} uploads are verified, {left} are left: push again; nothing is uploaded"
            " twice"
        )


class BranchClash(Unprocessable):
    """A branch name that is a folder of another, or differs from it only in letter case."""

    code = "branch_clash"

    def __init__(self, branch: str, other: str) -> None:
        super().__init__(
            f"branch {branch[:80]} conflicts with {other[:80]}: a clone cannot store both as files,"
            " and letter case does not count; choose another name. The name of a deleted branch is"
            " free again within 15 minutes"
        )


class NotPortable(Unprocessable):
    """A name that Windows or macOS cannot store, in a repository that forbids such names."""

    code = "not_portable"
