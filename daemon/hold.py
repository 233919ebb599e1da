"""Who holds a state folder, and where that daemon can be asked. Nothing is written to find out."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import urllib.request
from pathlib import Path
from typing import Any

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever http_proxy says


def is_held(state: Path) -> bool:
    """Does a daemon run on it?"""
    try:
        handle = os.open(state / "daemon.json", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def address(host: str, port: object) -> str:
    """Where a daemon that listens so can be opened on its own machine."""
    return f"http://{'127.0.0.1' if host in ('', '0.0.0.0') else host}:{port}"


def ask(state: Path) -> dict[str, Any] | None:
    """What the daemon of a state folder says of itself; None where none answers."""
    note = _read(state / "daemon.json")
    told = _asked(note.get("http"))
    # the note of one that was killed may name a port that another daemon has by now
    if told is not None and told.get("pid") == note.get("pid"):
        return told
    told = _asked(configured_address(state))
    return told if told is not None and told.get("folder") == str(state.resolve()) else None


def living(state: Path) -> int | None:
    """The process that says it runs on the folder, if it lives."""
    pid = _read(state / "daemon.json").get("pid")
    if not isinstance(pid, int):
        return None
    try:
        os.kill(pid, 0)
    except PermissionError:  # another user's
        return pid
    except (OSError, OverflowError):
        return None
    return pid


def _asked(where: object) -> dict[str, Any] | None:
    try:
        with _DIRECT.open(f"{where}/status", timeout=3) as answer:
            return {"daemon": where, **json.load(answer)}
    except (OSError, http.client.HTTPException, ValueError, TypeError):
        return None


def configured_address(state: Path) -> str | None:
    """Where the holder of the folder should be by its configuration: a read-only disk takes no
    note. None where nobody holds it."""
    listens = _read(state / "config.json").get("daemon")
    if not isinstance(listens, dict) or not is_held(state):
        return None
    return address(str(listens.get("http_host")), listens.get("http_port"))


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        told = json.loads(path.read_text())
        return told if isinstance(told, dict) else {}
    return {}
