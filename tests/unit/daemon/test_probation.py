"""Label-free signals before and after a swap."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.configs.schema import ProbationConfig
from acclimate.daemon.probation import Probation, Signals, Window, combine

CONFIG = ProbationConfig(
    frames=30, min_frames=10, max_histogram_js=0.15, max_confidence_drop=0.15
)  # fmt: skip


def part(*shares: float, frames: int = 10, confidence: float = 0.9) -> Signals:
    return Signals(frames, np.array(shares), confidence)


def watched(*parts: Signals, before: Signals | None = None) -> Probation:
    probation = Probation(CONFIG, before or part(0.5, 0.5))
    for one in parts:
        probation.add(one)
    return probation


def test_equal_signals_pass() -> None:
    probation = Probation(CONFIG, part(0.5, 0.5))
    for _ in range(3):
        assert not probation.over
        probation.add(part(0.52, 0.48, confidence=0.88))
        assert probation.regression() is None
    assert probation.over
    assert probation.numbers["frames"] == 30
    assert probation.numbers["confidence_drop"] == pytest.approx(0.02)


def test_more_confidence_is_no_regression() -> None:
    assert watched(part(0.5, 0.5, confidence=1.0)).regression() is None


@pytest.mark.parametrize(
    ("now", "signal", "number"),
    [
        (part(1.0, 0.0), "histogram_js", 0.311),
        (part(0.5, 0.5, confidence=0.3), "confidence_drop", 0.6),
    ],
)
def test_a_regression_is_named_with_its_number(now: Signals, signal: str, number: float) -> None:
    probation = watched(now)
    reason = probation.regression()
    assert reason is not None
    assert reason.startswith(f"{signal} {number:.3f} is above 0.15")
    assert probation.numbers[signal] == pytest.approx(number, abs=1e-3)


def test_disjoint_histograms_are_one_bit_apart() -> None:
    probation = watched(part(0.0, 1.0), before=part(1.0, 0.0))
    assert probation.regression()
    assert probation.numbers["histogram_js"] == pytest.approx(1)


@pytest.mark.parametrize("confidence", [float("nan"), float("-inf")])
def test_a_number_that_is_none_is_no_good_sign(confidence: float) -> None:
    assert watched(part(0.5, 0.5, confidence=confidence)).regression()


def test_too_few_frames_say_nothing() -> None:
    probation = watched(part(1.0, 0.0, frames=9))
    assert (probation.regression(), probation.numbers) == (None, {})
    probation.add(part(1.0, 0.0, frames=1))
    assert probation.regression()


def test_nothing_to_compare_with_says_nothing() -> None:
    probation = Probation(CONFIG, None)
    probation.add(part(1.0, 0.0))
    assert probation.regression() is None


def test_intervals_are_weighted_by_frames() -> None:
    both = combine([part(1.0, 0.0, frames=30, confidence=1.0), part(0.0, 1.0, confidence=0.0)])
    assert both is not None
    assert (both.frames, both.histogram.tolist(), both.confidence) == (40, [0.75, 0.25], 0.75)
    assert combine([]) is None


def test_a_window_keeps_the_newest_frames() -> None:
    window = Window(20)
    assert window.mean() is None
    for share in (1.0, 0.5, 0.5):
        window.add(part(share, 1 - share))
    mean = window.mean()
    assert mean is not None
    assert (mean.frames, mean.histogram.tolist()) == (20, [0.5, 0.5])


def test_a_window_is_never_emptied_by_a_long_interval() -> None:
    window = Window(20)
    window.add(part(1.0, 0.0, frames=500))
    window.add(part(0.0, 1.0, frames=5))
    mean = window.mean()
    assert mean is not None
    assert mean.frames == 505
    window.clear()
    assert window.mean() is None


def test_what_the_gate_saw_is_no_surprise() -> None:
    """Far from what served before, but as it was judged; then far from both."""
    expected = [1.0, 0.0]
    sound = Probation(CONFIG, part(0.3, 0.7), expected)
    sound.add(part(0.95, 0.05))
    assert sound.regression() is None
    other = Probation(CONFIG, part(0.9, 0.1), expected)
    other.add(part(0.0, 1.0))
    assert (other.regression() or "").startswith("histogram_js")


@pytest.mark.parametrize("expected", [[1.0], [], [float("nan"), 1.0], None])
def test_what_the_gate_cannot_have_seen_does_not_count(expected: list[float] | None) -> None:
    probation = Probation(CONFIG, part(0.0, 1.0), expected)
    probation.add(part(1.0, 0.0))
    assert (probation.regression() or "").startswith("histogram_js 1.000")
