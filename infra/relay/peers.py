"""Whose process is at the other end of a connection on this machine.

The relay adds the token of its user to requests. The loopback address is open to all users of the
machine, and Linux lists the user of each socket. Other systems do not, so there the answer is
unknown.
"""

import os
import socket
import sys
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""Columns: number, local address, remote address, state, queues, timer, retransmissions, user id,
timeout, inode (see proc(5)).
"""
LOCAL = 1
REMOTE = 2
USER = 7
INODE = 9


def is_of_another_user(peer: tuple[str, int], own: tuple[str, int]) -> bool:
    """Whether another user opened a connection between two IPv4 addresses. False where that cannot
    be known.

    A socket that its process has closed has no user and no inode any more, so it counts as
    another's.
    """
    try:
        lines: list[str] = []
        for table in TABLES:
            if table.exists():
                lines += table.read_text().splitlines()[1:]
    except OSError:
        return False
    if not lines:
        return False
    local = _written(peer)
    remote = _written(own)
    users = [
        int(columns[USER])
        for columns in map(str.split, lines)
        if columns[LOCAL].endswith(local)
        and columns[REMOTE].endswith(remote)
        and columns[INODE] != "0"
    ]
    return users != [os.getuid()]


def _written(address: tuple[str, int]) -> str:
    """An address as the kernel writes it: the IPv4 address as a number of this machine, and the
    port.
    """
    host, port = address
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
