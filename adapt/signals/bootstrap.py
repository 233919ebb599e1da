"""Is one set of label maps better than another? Paired, frames resampled.

Both are scored on the same resampled frames, so what makes a frame hard cancels out. Percentile
bounds: with few frames they are a little too narrow, which the margin has to make up for. Frames
of one drive are alike; none of this speaks of other drives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acclimate.adapt.signals.agreement import Tables, mean_iou_of, present

DRAWS = 1000


@dataclass(frozen=True)
class Gain:
    """In points of mIoU (0..100): on all frames, and one-sided bounds at the confidence asked for:
    it is above `low`, and it is below `high`, each with that confidence."""

    mean: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """JSON-ready, two decimals."""
        return {"gain": round(self.mean, 2), "low": round(self.low, 2), "high": round(self.high, 2)}

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def mean_gain(one: Gain, other: Gain) -> Gain:
    """Of two looks at the same question; bounds as if both erred alike, so wider than need be."""
    return Gain((one.mean + other.mean) / 2, (one.low + other.low) / 2, (one.high + other.high) / 2)


def paired_gain(
    after: Tables, before: Tables, confidence: float, draws: int = DRAWS, seed: int = 0
) -> Gain:
    """Tables (N,T,T) of the same frames and the same reference -> what `after` gains.

    The classes that count are those present in the reference of all frames together.
    """
    counted = present(before.sum(0))
    count = len(after)
    weights = np.random.default_rng(seed).multinomial(count, [1 / count] * count, draws)

    def points(tables: Tables) -> Tables:
        drawn = np.tensordot(weights.astype(float), tables, 1)
        return 100 * mean_iou_of(drawn, counted)

    low, high = np.percentile(
        points(after) - points(before), [100 * (1 - confidence), 100 * confidence]
    )
    mean = 100 * float(mean_iou_of(after.sum(0), counted) - mean_iou_of(before.sum(0), counted))
    return Gain(mean, float(low), float(high))
