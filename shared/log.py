"""One structured line per event, as JSON on standard error. No body, no token, no query string is ever in one."""

import logging
import sys
from typing import Any

import structlog

_PROCESSORS: list[Any] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    # A plain traceback: the structured one would print local variables, and those hold what clients sent.
    structlog.processors.format_exc_info,
    structlog.processors.JSONRenderer(),
]


def at(level: str) -> Any:
    """A logger that keeps events of this level (`DEBUG` … `CRITICAL`) and above."""
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=_PROCESSORS,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
    )
