"""The event log: what happened and why, one JSON line each, after the truth was written."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class EventLog:
    """Appends to `path` and tells `listener`; a full disk costs lines, never the daemon."""

    def __init__(self, path: Path, listener: Callable[[Event], None]) -> None:
        self._path, self._listener = path, listener
        self._started = time.monotonic()
        self.events: list[Event] = []

    def write(self, event: str, **details: Any) -> None:
        """Note an event; `t` is in seconds since the log was opened, `time` is the wall clock."""
        t = round(time.monotonic() - self._started, 2)
        row = {"event": event, "t": t, "time": time.time(), **details}
        self.events.append(row)
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            print(f"event log {self._path}: {error}", file=sys.stderr)
        self._listener(row)
