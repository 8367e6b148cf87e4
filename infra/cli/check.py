"""The result of a check of `pieria doctor`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check, and the fix for a problem."""

    piece: str
    state: str
    """`ok`, `warning` or `failed`."""
    result: str
    fix: str = ""

    @property
    def failed(self) -> bool:
        """Whether the hub cannot work with this result."""
        return self.state == "failed"
