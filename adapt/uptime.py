"""Time as a round that may be stopped (SIGSTOP) by the daemon lives it."""

from __future__ import annotations

import threading
import time
from types import TracebackType

TICK, LONGEST_TICK = 0.1, 1.0


class Uptime:
    """`seconds` since it was entered, less what was spent stopped (to a second a stop)."""

    def __init__(self) -> None:
        self._sum, self._since = 0.0, time.monotonic()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="uptime", daemon=True)

    @property
    def seconds(self) -> float:
        """Up to now."""
        return self._sum + self._last(time.monotonic())

    def __enter__(self) -> Uptime:
        self._since = time.monotonic()
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._over.set()
        self._ticker.join()

    def _tick(self) -> None:
        while not self._over.wait(TICK):
            now = time.monotonic()
            self._sum, self._since = self._sum + self._last(now), now

    def _last(self, now: float) -> float:
        """A tick that took longer was not run in but stood still."""
        return min(now - self._since, LONGEST_TICK)
