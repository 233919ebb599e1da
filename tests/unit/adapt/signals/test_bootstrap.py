"""The paired bootstrap against SciPy's, and against what has to hold of any."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from acclimate.adapt.signals.agreement import Labels, Tables, mean_iou_of, present, tables
from acclimate.adapt.signals.bootstrap import paired_gain

RNG = np.random.default_rng(3)
TRUTH = RNG.integers(0, 3, (14, 24, 24)).astype(np.uint8)


def guess(rates: float | np.ndarray, seed: int) -> Labels:
    """Right with a probability `rates` by frame."""
    rng = np.random.default_rng(seed)
    right = rng.random(TRUTH.shape) < np.broadcast_to(rates, 14)[:, None, None]
    return np.where(right, TRUTH, (TRUTH + 1) % 3).astype(np.uint8)


def against_truth(labels: Labels) -> Tables:
    return tables(TRUTH, labels, 3)


def test_bounds_are_those_of_scipy() -> None:
    hard = RNG.uniform(0.5, 0.9, 14)
    before, after = (against_truth(guess(r, s)) for r, s in ((hard, 1), (hard * 1.05, 2)))
    counted = present(before.sum(0))

    def difference(picks: np.ndarray) -> float:
        scores = [100 * mean_iou_of(t[picks.astype(int)].sum(0), counted) for t in (after, before)]
        return float(scores[0] - scores[1])

    theirs = bootstrap(
        (np.arange(14),), difference, vectorized=False, method="percentile",
        confidence_level=0.8, n_resamples=4000, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    ours = paired_gain(after, before, 0.9, draws=4000)
    assert ours.mean == pytest.approx(difference(np.arange(14)))
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.12)


def test_pairs_cancel_what_makes_frames_hard() -> None:
    """Frames differ by 40 points, the gain hardly: unpaired bounds would span tens of points."""
    hard = np.linspace(0.5, 0.9, 14)
    gain = paired_gain(*(against_truth(guess(hard + d, 5)) for d in (0.03, 0.0)), 0.95)
    assert 0 < gain.low < gain.mean < gain.high < 10


def test_the_same_gains_nothing() -> None:
    same = against_truth(guess(0.7, 1))
    gain = paired_gain(same, same, 0.9)
    assert (gain.mean, gain.low, gain.high) == (0, 0, 0)
    assert str(gain) == "+0.00 [+0.00, +0.00]"
    assert gain.to_dict() == {"gain": 0, "low": 0, "high": 0}


def test_one_frame_cannot_tell_more_than_itself() -> None:
    one = [against_truth(guess(r, 1))[:1] for r in (0.8, 0.6)]
    gain = paired_gain(*one, 0.9)
    assert gain.mean > 0
    assert (gain.low, gain.high) == pytest.approx((gain.mean, gain.mean))
