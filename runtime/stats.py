"""What the daemon is told twice a second: counts, times and label-free signals."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.drift import DriftConfig
from acclimate.runtime.engine import Frame, Result
from acclimate.runtime.look import Grey, Look, Motion, blinded, look, small


class View:
    """What one camera showed in an interval. The interval's last frame is looked at beside that of
    the interval before: `blind` where the camera sees nothing."""

    def __init__(self, config: DriftConfig) -> None:
        self._config, self._motion, self.blind = config, Motion(config.min_change), False
        self._before: Grey | None = None
        self.frame: Frame | None = None
        self.results: list[Result] = []

    @property
    def parked(self) -> bool:
        """Does its picture stay the same?"""
        return self._motion.parked

    def mean(self, name: str) -> NDArray[np.floating]:
        """A signal's mean over the interval's frames."""
        return np.asarray(np.mean([getattr(result, name) for result in self.results], 0))

    def look(self) -> Look | None:
        """At the interval's last frame; None where there was none."""
        if self.frame is None:
            return None
        now = small(self.frame)
        seen, self._before, self.frame = look(now, self._before), now, None
        self.blind = blinded(seen, self._config)
        self._motion.heed(seen.change)
        return seen


class Stats:
    """Collects one interval; means are of the cameras that see, each with the same weight, of all
    where none does. `blind` and `parked` are said of all that had frames together."""

    def __init__(self, config: DriftConfig, interval: float = 0.5) -> None:
        self._config, self._interval = config, interval
        self._views: dict[str, View] = {}
        self._due = time.monotonic() + interval
        self._latency: list[float] = []
        self._time = 0.0

    def reconfigure(self, config: DriftConfig) -> None:
        """Go by other limits of light, contrast and change."""
        self._config, self._views = config, {}

    def add(
        self, frame: Frame, result: Result, latency_ms: float, video_time: float, camera: str = ""
    ) -> None:
        """One served frame (H,W,3) of a camera; latency is from capture to labels."""
        view = self._views.setdefault(camera, View(self._config))
        view.frame = frame
        view.results.append(result)
        self._latency.append(round(latency_ms, 3))
        self._time = video_time

    @property
    def due(self) -> bool:
        """Has the interval passed?"""
        return time.monotonic() >= self._due

    def sees(self, camera: str = "") -> bool:
        """Did this camera see something when it was last looked at?"""
        return camera not in self._views or not self._views[camera].blind

    def take(self) -> dict[str, Any]:
        """The interval as JSON-ready values; the next one begins."""
        looks = {view: seen for view in self._views.values() if (seen := view.look()) is not None}
        seeing = [view for view in looks if not view.blind] or list(looks)
        report: dict[str, Any] = {"frames": sum(len(view.results) for view in seeing)}
        report |= {"latency_ms": self._latency, "video_time": self._time}
        for name in ("confidence", "histogram", "embedding") if looks else ():
            mean = np.mean([view.mean(name) for view in seeing], 0)
            report[name] = [round(float(x), 6) for x in mean]
        if looks:
            report["look"] = _together({view: looks[view] for view in seeing})
        self._latency, self._due = [], time.monotonic() + self._interval
        for view in self._views.values():
            view.results = []
        return report


def _together(looks: dict[View, Look]) -> dict[str, Any]:
    """Several looks as one: mean light, contrast and change; blind or parked if all are."""
    changes = [seen.change for seen in looks.values() if seen.change is not None]
    return {
        "light": float(np.mean([seen.light for seen in looks.values()])),
        "contrast": float(np.mean([seen.contrast for seen in looks.values()])),
        "change": float(np.mean(changes)) if changes else None,
        "blind": all(view.blind for view in looks), "parked": all(view.parked for view in looks),
    }  # fmt: skip
