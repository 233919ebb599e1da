"""After a swap: do the stream's label-free signals still look as before, or as the gate saw them?

What is learned for the dark sees another street than what served, and should: the gate has judged
that. What came past the gate has only what served before to be like.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.schema import ProbationConfig
from acclimate.runtime.signals import jensen_shannon

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Signals:
    """Means over `frames` frames: class shares (T,) and the mean top probability."""

    frames: int
    histogram: Shares
    confidence: float


def combine(parts: list[Signals]) -> Signals | None:
    """Several intervals as one; None for none."""
    frames = sum(part.frames for part in parts)
    if not frames:
        return None
    weights = np.array([part.frames / frames for part in parts])
    histogram = weights @ np.stack([part.histogram for part in parts])
    confidence = float(weights @ np.array([part.confidence for part in parts]))
    return Signals(frames, histogram, confidence)


class Window:
    """The newest intervals that make up at least `frames` frames, `wanted` from then on."""

    def __init__(self, frames: int) -> None:
        self.wanted = frames
        self._parts: deque[Signals] = deque()

    def add(self, part: Signals) -> None:
        """The next interval."""
        self._parts.append(part)
        while sum(p.frames for p in self._parts) - self._parts[0].frames >= self.wanted:
            self._parts.popleft()

    def clear(self) -> None:
        """Forget everything: another adapter serves."""
        self._parts.clear()

    def mean(self) -> Signals | None:
        """All of it as one."""
        return combine(list(self._parts))


class Probation:
    """Watches an adapter for its first `frames` frames.

    `expected`: class shares (T,) of what it said of the frames that the gate judged it on.
    """

    def __init__(
        self, config: ProbationConfig, before: Signals | None,
        expected: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        self._config, self._before, self._expected = config, before, expected
        self._parts: list[Signals] = []
        self.numbers: dict[str, float] = {}

    def add(self, part: Signals) -> None:
        """The next interval under the new adapter."""
        self._parts.append(part)

    def regression(self) -> str | None:
        """The signal that went wrong, named with its number; None while all is well."""
        now, before = combine(self._parts), self._before
        if now is None or before is None or now.frames < self._config.min_frames:
            return None
        js = min(jensen_shannon(one, now.histogram) for one in self._alike(before))
        drop = before.confidence - now.confidence
        self.numbers = {"histogram_js": js, "confidence_drop": drop, "frames": now.frames}
        if not js <= self._config.max_histogram_js:  # NaN is no good sign either
            return f"histogram_js {js:.3f} is above {self._config.max_histogram_js:g}"
        if not drop <= self._config.max_confidence_drop:
            return f"confidence_drop {drop:.3f} is above {self._config.max_confidence_drop:g}"
        return None

    def _alike(self, before: Signals) -> list[Shares]:
        """Class shares that are no surprise."""
        told = np.asarray(self._expected if self._expected is not None else (), float)
        return [before.histogram] + [told] * (told.shape == before.histogram.shape)

    @property
    def over(self) -> bool:
        """Was it watched for long enough?"""
        return sum(part.frames for part in self._parts) >= self._config.frames
