"""How far the stream has moved from where the serving adapter was made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.schema import DriftConfig

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Condition:
    """Where frames lie in embedding space (D,), and their mean distance from there."""

    mean: Vector
    spread: float

    @classmethod
    def of(cls, raw: dict[str, Any] | None) -> Condition | None:
        """From a manifest's {"mean", "spread"}."""
        return cls(np.asarray(raw["mean"]), max(float(raw["spread"]), 1e-6)) if raw else None

    @classmethod
    def around(cls, embeddings: Sequence[Vector]) -> Condition:
        """Of a set of frames."""
        stacked = np.stack(embeddings)
        mean = stacked.mean(0)
        return cls(mean, max(float(np.linalg.norm(stacked - mean, axis=1).mean()), 1e-6))


class Drift:
    """A moving average of the stream's embedding, compared with conditions."""

    def __init__(self, config: DriftConfig) -> None:
        self._config = config
        self._average: Vector | None = None
        self._first: list[Vector] = []
        self._frames = 0

    def add(self, embedding: Sequence[float], frames: int) -> None:
        """The mean embedding (D,) of the next `frames` frames."""
        new = np.asarray(embedding, float)
        if self._average is None:
            self._average = new
        share = 1 - math.exp(-frames / self._config.smoothing_frames)
        self._average = (1 - share) * self._average + share * new

    def first_condition(self, embedding: Sequence[float], frames: int) -> Condition | None:
        """Collect the base's own condition; returned once enough frames were seen."""
        self._first.append(np.asarray(embedding, float))
        self._frames += frames
        enough = self._frames >= self._config.reference_frames and len(self._first) >= 4
        return Condition.around(self._first) if enough else None

    def ratio(self, condition: Condition | None) -> float | None:
        """Distance from `condition` in units of its spread; None while either is unknown."""
        if condition is None or self._average is None:
            return None
        return float(np.linalg.norm(self._average - condition.mean)) / condition.spread

    def nearer(self, active: float, others: dict[str, Condition | None]) -> str | None:
        """The adapter whose condition fits clearly better than the active one's, if any."""
        ratios = {name: self.ratio(condition) for name, condition in others.items()}
        known = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        best = min(known, key=lambda name: known[name], default=None)
        if best is None or active < self._config.threshold:
            return None
        return best if known[best] < self._config.recall_ratio * active else None
