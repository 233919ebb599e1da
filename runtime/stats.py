"""What the daemon is told twice a second: counts, times and label-free signals."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from acclimate.runtime.engine import Result


class Stats:
    """Collects one interval; means are over the interval's frames."""

    def __init__(self, interval: float = 0.5) -> None:
        self._interval = interval
        self._due = time.monotonic() + interval
        self._results: list[Result] = []
        self._latency: list[float] = []
        self._time = 0.0

    def add(self, result: Result, latency_ms: float, video_time: float) -> None:
        """One served frame; latency is from capture to labels."""
        self._results.append(result)
        self._latency.append(round(latency_ms, 3))
        self._time = video_time

    @property
    def due(self) -> bool:
        """Has the interval passed?"""
        return time.monotonic() >= self._due

    def take(self) -> dict[str, Any]:
        """The interval as JSON-ready values; the next one begins."""
        results, latency = self._results, self._latency
        self._results, self._latency = [], []
        self._due = time.monotonic() + self._interval
        report: dict[str, Any] = {"frames": len(results), "latency_ms": latency}
        report["video_time"] = self._time
        for name in ("confidence", "histogram", "embedding") if results else ():
            mean = np.mean([getattr(result, name) for result in results], 0)
            report[name] = [round(float(x), 6) for x in mean]
        return report
