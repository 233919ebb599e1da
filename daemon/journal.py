"""The event log, read back: other versions and a power cut may have written any of its lines."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from acclimate.daemon.events import older

Event = dict[str, Any]
CHANGE = {"time", "actor", "from", "to", "reason"}


def read(path: Path, since: float = 0.0, kind: str | None = None) -> Iterator[Event]:
    """Events from Unix time `since` on, oldest first; none where there is no log."""
    for part in (older(path), path):
        with contextlib.suppress(FileNotFoundError), part.open(errors="replace") as file:
            yield from (one for line in file if (one := wanted(line, since, kind)) is not None)


def follow(
    path: Path, since: float = 0.0, kind: str | None = None, pause: float = 0.25
) -> Iterator[Event]:
    """The same, and then whatever comes; a log put in its place is read from its beginning."""
    while True:
        try:
            with path.open(errors="replace") as file:
                for line in _lines(file, path, pause):
                    if (one := wanted(line, since, kind)) is not None:
                        yield one
        except FileNotFoundError:
            time.sleep(pause)


def history(path: Path) -> Iterator[Event]:
    """Every change of what is served, as {time, actor, from, to, reason}."""
    for event in read(path, kind="served"):
        words = [event.get(key) for key in CHANGE - {"time"}]
        if type(event.get("time")) in (int, float) and all(isinstance(one, str) for one in words):
            yield {key: event[key] for key in CHANGE}


def wanted(line: str, since: float = 0.0, kind: str | None = None) -> Event | None:
    """A line as an event, if it is one that was asked for."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    stamp = event.get("time")
    late = isinstance(stamp, int | float) and stamp >= since
    return event if (late or not since) and kind in (None, event["event"]) else None


def _lines(file: TextIO, path: Path, pause: float) -> Iterator[str]:
    """Whole lines as they come, until another file lies there."""
    torn, inode = "", path.stat().st_ino
    while True:
        torn += file.readline()
        if torn.endswith("\n"):
            yield torn
            torn = ""
            continue
        now = path.stat()
        if now.st_ino != inode or now.st_size < file.tell():
            return
        time.sleep(pause)
