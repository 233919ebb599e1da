"""Holds a round while frames take longer than their budget, and lets it go on when they don't."""

from __future__ import annotations

from collections.abc import Sequence

CALM_INTERVALS, MOST_INTERVALS = 3, 48  # half a second each
SLOWEST = 0.1  # the share of an interval's frames that may be slower


class Governor:
    """`holding` says whether a round should stand still; without a limit it never should."""

    def __init__(self, max_latency_ms: float) -> None:
        self.limit, self.holding, self.latency_ms = max_latency_ms, False, 0.0
        self._calm, self._patience = 0, CALM_INTERVALS

    def heed(self, latencies_ms: Sequence[float]) -> bool:
        """One interval of the serving process, capture to labels; returns `holding`.

        It holds at once, and lets go after some intervals in a row within the limit: CALM_INTERVALS
        at first, twice as many after each time. A round that is in the way gets less and less, and
        one beside which frames are as fast as alone goes on, however near to that the limit is.
        Intervals without frames say nothing.
        """
        if not self.limit or not latencies_ms:
            return self.holding
        ordered = sorted(latencies_ms)
        self.latency_ms = ordered[int((1 - SLOWEST) * (len(ordered) - 1))]
        if self.latency_ms > self.limit:
            self.holding, self._calm = True, 0
        elif self.holding:
            self._calm += 1
            if self._calm >= self._patience:
                self.holding, self._patience = False, min(2 * self._patience, MOST_INTERVALS)
        return self.holding
