"""What the daemon is told twice a second: counts, times and label-free signals."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from acclimate.configs.schema import DriftConfig
from acclimate.runtime.engine import Frame, Result
from acclimate.runtime.look import Grey, Motion, blinded, look, small


class Stats:
    """Collects one interval; means are over the interval's frames. Its last frame is looked at
    beside that of the interval before: `blind` where the camera sees nothing."""

    def __init__(self, config: DriftConfig, interval: float = 0.5) -> None:
        self._config, self._interval, self.blind = config, interval, False
        self._motion, self._frame = Motion(config.min_change), None  # type: Motion, Frame | None
        self._before: Grey | None = None
        self._due = time.monotonic() + interval
        self._results: list[Result] = []
        self._latency: list[float] = []
        self._time = 0.0

    def add(self, frame: Frame, result: Result, latency_ms: float, video_time: float) -> None:
        """One served frame (H,W,3); latency is from capture to labels."""
        self._frame = frame
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
        if results and self._frame is not None:
            report["look"] = self._look(small(self._frame))
        return report

    def _look(self, now: Grey) -> dict[str, Any]:
        seen, self._before = look(now, self._before), now
        self.blind = blinded(seen, self._config)
        return {**vars(seen), "blind": self.blind, "parked": self._motion.heed(seen.change)}
