"""The event log: what happened and why, one JSON line each, after the truth was written."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acclimate.configs.source import public
from acclimate.runtime.durable import sync

Event = dict[str, Any]
CHUNK, LONGEST_TAIL = 2**12, 2**16
MOST_BYTES, MOST_EVENTS = 2**24, 1000


class EventLog:
    """Appends to `path` and tells `listener`; a full disk costs lines, never the daemon.

    A log of `MOST_BYTES` becomes the older part, in the place of the one before, and another is
    begun; `events` are the newest `MOST_EVENTS`: neither grows for ever.
    """

    def __init__(self, path: Path, listener: Callable[[Event], None]) -> None:
        self._path, self._listener = path, listener
        self._started = time.monotonic()
        self.events: deque[Event] = deque(maxlen=MOST_EVENTS)

    def write(self, event: str, **details: Any) -> None:
        """Note an event; `t` is in seconds since the log was opened, `time` is the wall clock."""
        t = round(time.monotonic() - self._started, 2)
        row = {"event": event, "t": t, "time": time.time(), **_discreet(details)}
        self.events.append(row)
        try:
            append(self._path, row)
            if self._path.stat().st_size > MOST_BYTES:
                self._path.replace(older(self._path))
                sync(self._path.parent)
        except OSError as error:
            print(f"event log {self._path}: {error}", file=sys.stderr)
        self._listener(row)


def _discreet(told: Any) -> Any:
    """Whoever writes the event: errors may quote an address with a camera's password."""
    if isinstance(told, dict):
        return {key: _discreet(value) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return type(told)(map(_discreet, told))
    return public(told) if isinstance(told, str) else told


def older(path: Path) -> Path:
    """Where the part of a log lies that was written before it."""
    return path.with_name(f"{path.stem}.older{path.suffix}")


def append(path: Path, row: Event) -> None:
    """One more line, whole and fsynced, or none; raises OSError.

    Half a line that a crash left at the end becomes an event of its own, `log_repaired`, so that
    every line can be read.
    """
    with path.open("ab+", buffering=0) as file:
        whole = end = file.seek(0, os.SEEK_END)
        text = _line(row)
        if tail := _after_last_newline(file, end):
            if _parsed(tail) is not None or len(tail) >= LONGEST_TAIL:  # a line of zeros stays one
                text = b"\n" + text
            else:
                told = {"event": "log_repaired", "t": row["t"], "time": row["time"]}
                whole -= len(tail)
                text = _line(told | {"lost": tail.decode(errors="replace")}) + text
        try:
            if whole < end:
                file.truncate(whole)
            _write_all(file, text)
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(whole)
            raise
    if not end:
        sync(path.parent)


def read(path: Path) -> tuple[list[Event], list[bytes]]:
    """Every event of a log, oldest first, and the lines that are none; raises OSError. A log that
    is not there is empty."""
    if not path.exists():
        return [], []
    lines = path.read_bytes().splitlines()
    rows = [(line, _parsed(line)) for line in lines]
    good = [row for _, row in rows if row is not None]
    return good, [line for line, row in rows if row is None]


def _parsed(line: bytes) -> Event | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("event"), str) else None


def _line(row: Event) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _after_last_newline(file: io.FileIO, end: int) -> bytes:
    tail = b""
    while end and b"\n" not in tail and len(tail) < LONGEST_TAIL:
        start = max(0, end - CHUNK)
        file.seek(start)
        tail, end = file.read(end - start) + tail, start
    return tail[tail.rfind(b"\n") + 1 :]


def _write_all(file: io.FileIO, text: bytes) -> None:
    while text:  # a disk that is nearly full takes a part of it
        text = text[file.write(text) :]
