"""Drift, probation and the decision to start a round: pure arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acclimate.configs.schema import AdaptConfig, Config, DriftConfig, ProbationConfig
from acclimate.daemon.drift import Condition, Drift
from acclimate.daemon.probation import Probation, Signals, Window, combine
from acclimate.daemon.scheduler import Situation, why_now

HERE = Condition(np.zeros(2), 0.5)
FAR = Condition(np.array([4.0, 0.0]), 0.5)


def part(*shares: float, frames: int = 10, confidence: float = 0.9) -> Signals:
    return Signals(frames, np.array(shares), confidence)


def at(*embedding: float) -> Drift:
    drift = Drift(DriftConfig(threshold=1.0, smoothing_frames=1))
    for _ in range(20):
        drift.add(embedding, 10)
    return drift


def test_drift_is_distance_in_spreads() -> None:
    assert at(0.0, 0.0).ratio(HERE) == pytest.approx(0, abs=1e-6)
    assert at(0.0, 1.5).ratio(HERE) == pytest.approx(3)
    assert at(0.0, 0.0).ratio(None) is None
    assert Drift(DriftConfig()).ratio(HERE) is None


def test_drift_is_smoothed() -> None:
    drift = at(0.0, 0.0)
    drift._config = DriftConfig(smoothing_frames=100)
    drift.add([0.0, 1.0], 1)
    assert drift.ratio(HERE) == pytest.approx(0.02, rel=0.02)


def test_only_a_clearly_better_adapter_is_recalled() -> None:
    drift = at(3.5, 0.0)
    assert drift.nearer(7.0, {"far": FAR, "unknown": None}) == "far"
    assert drift.nearer(0.9, {"far": FAR}) is None  # the active one fits well enough
    assert drift.nearer(1.2, {"far": FAR}) is None  # not clearly better
    assert drift.nearer(7.0, {}) is None


def test_the_first_condition_needs_enough_frames() -> None:
    drift = Drift(DriftConfig(reference_frames=40))
    found = [drift.first_condition([float(i % 2), 0.0], 10) for i in range(4)]
    assert found[:3] == [None, None, None]
    assert found[3] is not None
    assert found[3].mean.tolist() == [0.5, 0.0]
    assert found[3].spread == pytest.approx(0.5)


def test_equal_signals_pass_probation() -> None:
    probation = Probation(ProbationConfig(frames=30, min_frames=5), part(0.5, 0.5))
    for _ in range(3):
        assert not probation.over
        probation.add(part(0.52, 0.48))
        assert probation.regression() is None
    assert probation.over


@pytest.mark.parametrize(
    ("now", "signal"),
    [(part(1.0, 0.0), "histogram_js"), (part(0.5, 0.5, confidence=0.3), "confidence_drop")],
)
def test_a_regression_is_named_with_its_number(now: Signals, signal: str) -> None:
    probation = Probation(ProbationConfig(), part(0.5, 0.5))
    probation.add(now)
    reason = probation.regression()
    assert reason is not None
    assert reason.startswith(signal)
    assert f"{probation.numbers[signal]:.3f}" in reason


def test_too_few_frames_say_nothing() -> None:
    probation = Probation(ProbationConfig(min_frames=10), part(0.5, 0.5))
    probation.add(part(1.0, 0.0, frames=9))
    assert probation.regression() is None
    assert Probation(ProbationConfig(), None).regression() is None


def test_intervals_are_weighted_by_frames() -> None:
    both = combine([part(1.0, 0.0, frames=30, confidence=1.0), part(0.0, 1.0, confidence=0.0)])
    assert both is not None
    assert both.histogram.tolist() == [0.75, 0.25]
    assert both.confidence == 0.75
    assert combine([]) is None


def test_a_window_keeps_the_newest_frames() -> None:
    window = Window(20)
    for share in (1.0, 0.5, 0.5):
        window.add(part(share, 1 - share))
    mean = window.mean()
    assert mean is not None
    assert (mean.frames, mean.histogram.tolist()) == (20, [0.5, 0.5])
    window.clear()
    assert window.mean() is None


CALM = Situation(busy=False, drift=9.0, since_round=99.0, buffered=64, new_frames=20)


def test_a_round_starts_for_a_reason() -> None:
    assert why_now(CALM, Config()) == "drift 9.0 is above 2.5"


@pytest.mark.parametrize(
    "change",
    [{"busy": True}, {"drift": None}, {"drift": 1.0}, {"since_round": 1.0}, {"buffered": 3},
     {"new_frames": 0}],
)  # fmt: skip
def test_a_round_waits(change: dict[str, object]) -> None:
    assert why_now(replace(CALM, **change), Config()) is None  # type: ignore[arg-type]


def test_adaptation_can_be_switched_off() -> None:
    assert why_now(CALM, replace(Config(), adapt=AdaptConfig(enabled=False))) is None
