"""Keys of `drift`: when to adapt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DriftConfig:
    """When to adapt. Drift is a distance from where the active adapter was made, in units of the
    spread there; averages over `smoothing_frames`. What is usual is said by the first
    `reference_frames` of an adapter while the picture moves.

    Alarm: the root of the sum of squares of the embedding's distance, `entropy_weight` times how
    far the entropy rose and `histogram_weight` times the class shares' divergence, from `threshold`
    up until it falls below the share `release` of it. An alarm may start `burst` rounds and
    `rounds_per_hour` in the long run (0 = no limit), `adapt.cooldown_s` apart. None while parked:
    pictures half a second apart that differ by less than `min_change` grey levels (0 = never); and
    nothing is learned, buffered or judged while blinded: darker than `min_light` or flatter than
    `min_contrast`, in grey levels. Another good adapter is recalled where its distance is below
    `recall_ratio` of the active one's.
    """

    reference_frames: int = 300
    threshold: float = 2.0
    release: float = 0.75
    smoothing_frames: int = 50
    entropy_weight: float = 1.0
    histogram_weight: float = 0.0
    rounds_per_hour: float = 20.0
    burst: int = 6
    min_change: float = 2.5
    min_light: float = 8.0
    min_contrast: float = 6.0
    recall_ratio: float = 0.6
