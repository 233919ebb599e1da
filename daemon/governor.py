"""Holds a round while frames take longer than their budget, and lets it go on when they don't."""

from __future__ import annotations

from collections.abc import Sequence

CALM, CALM_INTERVALS = 0.8, 3
SLOWEST = 0.1  # the share of an interval's frames that may be slower


class Governor:
    """`holding` says whether a round should stand still; without a limit it never should."""

    def __init__(self, max_latency_ms: float) -> None:
        self.limit, self.holding, self.latency_ms = max_latency_ms, False, 0.0
        self._calm = 0

    def heed(self, latencies_ms: Sequence[float]) -> bool:
        """One interval of the serving process, capture to labels; returns `holding`.

        It holds at once, and lets go after CALM_INTERVALS in a row clearly below the limit: a
        round that is stopped and started with every frame would only be in the way. Intervals
        without frames say nothing.
        """
        if not self.limit or not latencies_ms:
            return self.holding
        ordered = sorted(latencies_ms)
        self.latency_ms = ordered[int((1 - SLOWEST) * (len(ordered) - 1))]
        self._calm = self._calm + 1 if self.latency_ms <= CALM * self.limit else 0
        if self.latency_ms > self.limit:
            self.holding = True
        elif self._calm >= CALM_INTERVALS:
            self.holding = False
        return self.holding
