"""When drift becomes an alarm, and how many rounds it may cost."""

from __future__ import annotations

import time
from collections.abc import Callable

from acclimate.configs.drift import DriftConfig


def alarmed(before: bool, level: float | None, config: DriftConfig) -> bool:
    """From the threshold up; once there, until the level falls below `release` of it."""
    if level is None:
        return False
    return level >= config.threshold * (config.release if before else 1.0)


class Budget:
    """`burst` rounds at once, `per_hour` in the long run; 0 an hour = no limit."""

    def __init__(
        self, per_hour: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = per_hour / 3600, float(burst), clock
        self._left, self._then = self._burst, clock()

    @property
    def left(self) -> float:
        """Rounds that may start now."""
        if not self._rate:
            return self._burst
        now = self._clock()
        self._left = min(self._burst, self._left + self._rate * (now - self._then))
        self._then = now
        return self._left

    def change(self, per_hour: float, burst: int) -> None:
        """Other limits from now on; a larger burst may be spent at once."""
        more = max(0.0, burst - self._burst)
        self._left, self._then = min(float(burst), self.left + more), self._clock()
        self._rate, self._burst = per_hour / 3600, float(burst)

    def spend(self) -> None:
        """A round starts."""
        self._left = max(0.0, self.left - 1)
