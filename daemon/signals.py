"""Signals: handlers only note them, the loop takes them. Nothing is ever done in a handler."""

from __future__ import annotations

import signal
from collections import deque
from types import FrameType

STOP = (signal.SIGTERM, signal.SIGINT)
HEEDED = (*STOP, signal.SIGHUP)


class Signals:
    """What came since the last look, oldest first."""

    def __init__(self) -> None:
        self._came: deque[signal.Signals] = deque()

    def listen(self) -> None:
        """From now on they are noted instead of ending the process; main thread only."""
        for number in HEEDED:
            signal.signal(number, self.note)

    def note(self, number: int, _: FrameType | None = None) -> None:
        """The handler."""
        self._came.append(signal.Signals(number))

    def take(self) -> list[signal.Signals]:
        """All that came, each once told."""
        return [self._came.popleft() for _ in range(len(self._came))]
