"""One log line per event, as JSON on standard error, without bodies, tokens or queries."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any


class Log:
    """Writes events of a level and above."""

    def __init__(self, lowest_level: int) -> None:
        self._lowest_level = lowest_level

    def log(
        self, level: int, event: str, exc_info: BaseException | None = None, **fields: Any
    ) -> None:
        """Write one line with these fields.

        The traceback of an exception has no local variables, because they contain request data.
        """
        if level < self._lowest_level:
            return
        line: dict[str, Any] = {**fields, "event": event}
        line["level"] = logging.getLevelName(level).lower()
        line["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        if exc_info:
            line["exception"] = "".join(traceback.format_exception(exc_info)).rstrip("\n")
        print(json.dumps(line, default=repr), file=sys.stderr, flush=True)

    def warning(self, event: str, exc_info: BaseException | None = None, **fields: Any) -> None:
        """Write a line of level warning."""
        self.log(logging.WARNING, event, exc_info, **fields)

    def error(self, event: str, exc_info: BaseException | None = None, **fields: Any) -> None:
        """Write a line of level error."""
        self.log(logging.ERROR, event, exc_info, **fields)


def at(level: str) -> Log:
    """Return a log for events of this level (`DEBUG` … `CRITICAL`) and above."""
    return Log(logging.getLevelNamesMapping()[level.upper()])
