"""How far a long job is, on stderr: every two seconds at first, of a long one each minute."""

from __future__ import annotations

import sys
import time

PAUSE, LONGEST, SHARE = 2.0, 60.0, 0.01


class Progress:
    """Counts steps, `done` of them taken before; says nothing in the first two seconds."""

    def __init__(self, what: str, total: int | None = None, done: int = 0) -> None:
        self._what, self._total = what, total
        self._before = self._done = done
        self._began = time.monotonic()
        self._due = self._began + PAUSE

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        now = time.monotonic()
        if now >= self._due:
            self._due = now + min(LONGEST, max(PAUSE, SHARE * (now - self._began)))
            print(self.line(now - self._began), file=sys.stderr, flush=True)

    def line(self, seconds: float) -> str:
        """What to say after so many seconds of work."""
        each = seconds / (self._done - self._before)
        pace = f"{1 / each:.1f} a second" if each < 1 else f"{each:.1f} s each"
        if self._total is None:
            return f"{self._done} {self._what}, {pace} ..."
        left = duration(each * (self._total - self._done))
        return f"{self._done} of {self._total} {self._what}, {pace}, {left} left ..."


def duration(seconds: float) -> str:
    """ "40 s", "12 min", "5 h 20 min", "3 d 4 h", for people."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
