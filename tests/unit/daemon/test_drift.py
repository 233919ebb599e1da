"""How far the stream has moved, and which adapter it has moved to."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.configs.schema import DriftConfig
from acclimate.daemon.drift import Condition, Drift

HERE = Condition(np.zeros(2), 0.5)
FAR = Condition(np.array([4.0, 0.0]), 0.5)


def at(*embedding: float) -> Drift:
    """A stream that has been at one place for long."""
    drift = Drift(DriftConfig(threshold=1.0, smoothing_frames=1))
    for _ in range(20):
        drift.add(embedding, 10)
    return drift


def test_it_is_a_distance_in_spreads() -> None:
    assert at(0.0, 0.0).ratio(HERE) == pytest.approx(0, abs=1e-9)
    assert at(0.0, 0.5).ratio(HERE) == pytest.approx(1)
    assert at(0.0, 1.5).ratio(HERE) == pytest.approx(3)


def test_it_is_unknown_without_a_condition_or_a_frame() -> None:
    assert at(0.0, 0.0).ratio(None) is None
    assert Drift(DriftConfig()).ratio(HERE) is None


def test_one_odd_interval_is_smoothed() -> None:
    drift = Drift(DriftConfig(smoothing_frames=100))
    drift.add([0.0, 0.0], 1000)
    drift.add([0.0, 1.0], 1)
    assert drift.ratio(HERE) == pytest.approx(2 * (1 - np.exp(-0.01)))


def test_frames_count_and_not_reports() -> None:
    once, often = Drift(DriftConfig()), Drift(DriftConfig())
    for drift, reports in ((once, 1), (often, 6)):
        drift.add([0.0, 0.0], 10)
        for _ in range(reports):
            drift.add([1.0, 0.0], 12 // reports)
    assert once.ratio(HERE) == pytest.approx(often.ratio(HERE))


def test_the_first_condition_needs_enough_frames_and_reports() -> None:
    drift = Drift(DriftConfig(reference_frames=40))
    found = [drift.first_condition([float(i % 2), 0.0], 10) for i in range(4)]
    assert found[:3] == [None, None, None]
    assert found[3] is not None
    assert found[3].mean.tolist() == [0.5, 0.0]
    assert found[3].spread == pytest.approx(0.5)
    one_big = Drift(DriftConfig(reference_frames=40))
    assert one_big.first_condition([0.0, 0.0], 1000) is None


def test_a_still_picture_has_a_spread_to_divide_by() -> None:
    still = Condition.around([np.ones(3)] * 5)
    assert still.spread > 0
    assert np.isfinite(at(2.0, 2.0, 2.0).ratio(still) or np.inf)


def test_a_condition_is_read_from_a_manifest() -> None:
    found = Condition.of({"mean": [1.0, 2.0], "spread": 0.0})
    assert found is not None
    assert (found.mean.tolist(), found.spread > 0) == ([1.0, 2.0], True)
    assert Condition.of(None) is None


def test_only_a_clearly_better_adapter_is_recalled() -> None:
    drift = at(3.5, 0.0)
    assert drift.nearer(7.0, {"far": FAR, "unknown": None}) == "far"
    assert drift.nearer(1.2, {"far": FAR}) is None, "better, but not clearly"
    assert drift.nearer(7.0, {}) is None


def test_the_best_of_several_is_recalled() -> None:
    others = {"far": FAR, "here": HERE, "near": Condition(np.array([3.4, 0.0]), 0.5)}
    assert at(3.5, 0.0).nearer(7.0, others) == "near"


def test_nothing_is_recalled_while_the_active_adapter_fits() -> None:
    assert at(4.0, 0.0).nearer(0.9, {"far": FAR}) is None
