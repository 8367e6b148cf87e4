"""Ports on 127.0.0.1: find a free one, and wait until a process listens on it."""

import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

PAUSE_SECONDS = 0.05


def free() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def is_open(port: int) -> bool:
    """Whether a process listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def is_ready(
    process: "subprocess.Popen[Any]",
    port: int,
    *,
    within_seconds: float,
    answers: Callable[[int], bool] = is_open,
) -> bool:
    """Wait until the process answers on the port.

    False if it does not in time, and at once if it ends.
    """
    deadline = time.monotonic() + within_seconds
    while process.poll() is None and time.monotonic() < deadline:
        if answers(port):
            return True
        time.sleep(PAUSE_SECONDS)
    return False
