"""How far the stream has moved from where the serving adapter was made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.drift import DriftConfig
from acclimate.runtime.signals import jensen_shannon

Vector = NDArray[np.float64]
LEAST_ENTROPY, LEAST_DIVERGENCE = 0.005, 0.001  # of a spread: a still picture has none


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


@dataclass(frozen=True)
class Usual:
    """What an adapter says where it belongs: mean entropy (0..1) and its standard deviation; class
    shares (T,) and their mean JS divergence from there, in bits."""

    entropy: float
    entropy_spread: float
    histogram: Vector
    divergence: float

    @classmethod
    def around(cls, said: Sequence[tuple[float, Vector]]) -> Usual:
        """Of entropies and class shares."""
        entropies, shares = np.array([e for e, _ in said]), np.stack([h for _, h in said])
        mean = shares.mean(0)
        divergence = float(np.mean([jensen_shannon(one, mean) for one in shares]))
        spread = max(float(entropies.std()), LEAST_ENTROPY)
        return cls(float(entropies.mean()), spread, mean, max(divergence, LEAST_DIVERGENCE))


@dataclass(frozen=True)
class Level:
    """Distances from the usual, each in units of its own spread; entropy counts where it rises.
    Entropy and histogram are 0 while their usual is unknown. `whole` is what a threshold is for."""

    distance: float
    entropy: float
    histogram: float
    whole: float


def level(distance: float, entropy: float, histogram: float, config: DriftConfig) -> Level:
    """All signals as one: the root of the sum of their weighted squares."""
    parts = (distance, config.entropy_weight * entropy, config.histogram_weight * histogram)
    return Level(distance, entropy, histogram, math.hypot(*parts))


class Collected:
    """Reports until there are `frames` frames of them, in 4 reports or more."""

    def __init__(self, frames: int) -> None:
        self.wanted, self._frames = frames, 0
        self.embeddings: list[Vector] = []
        self.said: list[tuple[float, Vector]] = []

    def add(self, embedding: Vector, entropy: float, histogram: Vector, frames: int) -> bool:
        """The next one; True once that is enough."""
        self.embeddings.append(embedding)
        self.said.append((entropy, histogram))
        self._frames += frames
        return self._frames >= self.wanted and len(self.said) >= 4


class Drift:
    """Moving averages of what the stream looks like and what is said of it."""

    def __init__(self, config: DriftConfig) -> None:
        self._config = config
        self._average: Vector | None = None
        self._entropy: float | None = None
        self._histogram: Vector | None = None
        self._frames = 0

    def reconfigure(self, config: DriftConfig) -> None:
        """Go by other weights and thresholds."""
        self._config = config

    def add(self, embedding: Vector, entropy: float, histogram: Vector, frames: int) -> None:
        """Means over the next `frames` frames: embedding (D,), entropy 0..1, class shares (T,)."""
        kept, self._frames = (
            math.exp(-frames / self._config.smoothing_frames),
            self._frames + frames,
        )
        self._average = _moved(self._average, embedding, kept)
        self._entropy = float(_moved(self._entropy, entropy, kept))
        self._histogram = _moved(self._histogram, histogram, kept)

    def begin(self, usual: Usual | None) -> None:
        """Another adapter or other words: what was said of the stream is no measure any more; it
        begins at the new one's usual, if that is known."""
        self._entropy = None if usual is None else usual.entropy
        self._histogram = None if usual is None else usual.histogram

    def ratio(self, condition: Condition | None) -> float | None:
        """Distance from `condition` in units of its spread; None while either is unknown."""
        if condition is None or self._average is None:
            return None
        if condition.mean.shape != self._average.shape:  # another base's
            return None
        return float(np.linalg.norm(self._average - condition.mean)) / condition.spread

    def level(self, condition: Condition | None, usual: Usual | None) -> Level | None:
        """How far from where the adapter belongs; None while that is unknown, or the average is of
        too few frames."""
        distance = self.ratio(condition)
        if distance is None or self._frames < self._config.smoothing_frames:
            return None
        if usual is None or self._entropy is None or self._histogram is None:
            return level(distance, 0.0, 0.0, self._config)
        entropy = max(0.0, self._entropy - usual.entropy) / usual.entropy_spread
        histogram = jensen_shannon(self._histogram, usual.histogram) / usual.divergence
        return level(distance, entropy, histogram, self._config)

    def nearer(self, active: float, others: dict[str, Condition | None]) -> str | None:
        """The adapter whose condition fits clearly better than the active one's, if any."""
        ratios = {name: self.ratio(condition) for name, condition in others.items()}
        known = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        best = min(known, key=lambda name: known[name], default=None)
        if best is None or active < self._config.threshold:
            return None
        return best if known[best] < self._config.recall_ratio * active else None


def _moved(average: Any, new: Any, kept: float) -> Any:
    return new if average is None else kept * average + (1 - kept) * new
