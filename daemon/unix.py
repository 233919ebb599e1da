"""Unix sockets and users: names that fit, who is who."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path

LONGEST = 107  # bytes of an address, of Linux


@contextlib.contextmanager
def address_of(path: Path) -> Iterator[str]:
    """A name that a socket can be bound and connected to, however deep its folder lies."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connected(path: Path, timeout: float) -> socket.socket:
    """A connection to a Unix socket; raises OSError."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    try:
        with address_of(path) as address:
            sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def user_name(number: int) -> str:
    """A user's name, or the number of one that has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
