"""Seconds into a live source, and the pauses between tries."""

from __future__ import annotations

import random
from collections.abc import Iterator

JUMP = 5.0  # seconds between a camera's clock and ours that are a jump, not a jitter
LONGEST_PAUSE = 30.0


class Timeline:
    """The camera's own clock as seconds since its first frame: over reconnections, over jumps of
    that clock, and never backwards."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._base: float | None = None
        self._last = 0.0

    def reconnected(self) -> None:
        """The camera's clock may have begun anew."""
        self._base = None

    def at(self, arrived: float, seconds: float | None) -> float:
        """Of a frame that arrived at the monotonic second `arrived`."""
        self._start = arrived if self._start is None else self._start
        elapsed = arrived - self._start
        if seconds is None:
            now = elapsed
        else:
            if self._base is None or abs(self._base + seconds - elapsed) > JUMP:
                self._base = elapsed - seconds
            now = self._base + seconds
        self._last = max(self._last, now)
        return self._last


def pauses(first: float) -> Iterator[float]:
    """Seconds to wait before each new try: doubling up to half a minute, each a quarter longer or
    shorter by chance, so that cameras that lost one switch don't come back in step."""
    pause = first
    while True:
        yield pause * random.uniform(0.75, 1.25)
        pause = min(2 * pause, max(first, LONGEST_PAUSE))
