"""How far a long job is, on stderr, every two seconds."""

from __future__ import annotations

import sys
import time

PAUSE = 2.0


class Progress:
    """Counts steps; says nothing in the first two seconds."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self._what, self._of = what, f" of {total}" if total is not None else ""
        self._done, self._began = 0, time.monotonic()
        self._due = self._began + PAUSE

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        now = time.monotonic()
        if now >= self._due:
            self._due = now + PAUSE
            rate = self._done / (now - self._began)
            text = f"{self._done}{self._of} {self._what}, {rate:.1f} a second ..."
            print(text, file=sys.stderr, flush=True)
