"""Times as text. A page states them in UTC, so it is the same for every reader and can be
cached.
"""

from datetime import UTC, datetime
from typing import NamedTuple


class Moment(NamedTuple):
    """A time for people, and for machines (ISO 8601; empty if the text is not a time)."""

    text: str
    machine: str


def of_seconds(seconds: float) -> Moment:
    """A time in epoch seconds."""
    return _of(datetime.fromtimestamp(seconds, UTC))


def of_text(text: str) -> Moment:
    """A time as a client recorded it. A text that is not a time is shown as it is."""
    try:
        moment = datetime.fromisoformat(text)
        return _of(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return Moment(text[:64], "")


def _of(moment: datetime) -> Moment:
    shown = f"{moment.day} {moment:%b} {moment.year}, {moment:%H:%M} UTC"
    return Moment(shown, moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
