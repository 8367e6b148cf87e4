"""One log line per event, as JSON on standard error, without bodies, tokens or queries."""

import logging
import sys
from typing import Any

import structlog

_PROCESSORS: list[Any] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    # A plain traceback: a structured one would print local variables, which contain request data.
    structlog.processors.format_exc_info,
    structlog.processors.JSONRenderer(),
]


def at(level: str) -> Any:
    """Return a logger for events of this level (`DEBUG` … `CRITICAL`) and above."""
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=_PROCESSORS,
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
    )
