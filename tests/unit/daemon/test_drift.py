"""How far the stream has moved, and which adapter it has moved to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from acclimate.configs.drift import DriftConfig
from acclimate.daemon.drift import Collected, Condition, Drift, Usual, level

HERE = Condition(np.zeros(2), 0.5)
FAR = Condition(np.array([4.0, 0.0]), 0.5)
CALM = np.array([0.5, 0.5])
USUAL = Usual(0.1, 0.02, CALM, 0.01)


def add(drift: Drift, *embedding: float, frames: int = 10, **said: Any) -> None:
    drift.add(np.array(embedding), said.get("entropy", 0.1), said.get("shares", CALM), frames)


def at(*embedding: float, **said: Any) -> Drift:
    """A stream that has been at one place for long."""
    drift = Drift(DriftConfig(threshold=1.0, smoothing_frames=1, histogram_weight=1.0))
    for _ in range(20):
        add(drift, *embedding, **said)
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
    add(drift, 0.0, 0.0, frames=1000)
    add(drift, 0.0, 1.0, frames=1)
    assert drift.ratio(HERE) == pytest.approx(2 * (1 - np.exp(-0.01)))


def test_frames_count_and_not_reports() -> None:
    once, often = Drift(DriftConfig()), Drift(DriftConfig())
    for drift, reports in ((once, 1), (often, 6)):
        add(drift, 0.0, 0.0)
        for _ in range(reports):
            add(drift, 1.0, 0.0, frames=12 // reports)
    assert once.ratio(HERE) == pytest.approx(often.ratio(HERE))


def test_the_first_condition_needs_enough_frames_and_reports() -> None:
    first = Collected(40)
    done = [first.add(np.array([float(i % 2), 0.0]), 0.1, CALM, 10) for i in range(4)]
    assert done == [False, False, False, True]
    found = Condition.around(first.embeddings)
    assert found.mean.tolist() == [0.5, 0.0]
    assert found.spread == pytest.approx(0.5)
    assert not Collected(40).add(np.zeros(2), 0.1, CALM, 1000), "one report is no spread"


def test_a_still_picture_has_a_spread_to_divide_by() -> None:
    still = Condition.around([np.ones(3)] * 5)
    assert still.spread > 0
    assert np.isfinite(at(2.0, 2.0, 2.0).ratio(still) or np.inf)
    usual = Usual.around([(0.1, CALM)] * 5)
    assert (usual.entropy_spread > 0, usual.divergence > 0) == (True, True)


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


# ---- what is said of the stream


def test_what_is_usual_is_its_mean_and_spread() -> None:
    shares = [np.array([0.6, 0.4]), np.array([0.4, 0.6])]
    usual = Usual.around([(0.1, shares[0]), (0.3, shares[1])])
    assert (usual.entropy, usual.entropy_spread) == (pytest.approx(0.2), pytest.approx(0.1))
    assert usual.histogram == pytest.approx(CALM)
    assert usual.divergence == pytest.approx(jensenshannon(shares[0], CALM, 2) ** 2)


def test_every_signal_is_in_units_of_its_own_spread() -> None:
    shares = np.array([0.8, 0.2])
    found = at(0.0, 1.5, entropy=0.16, shares=shares).level(HERE, USUAL)
    assert found is not None
    divergence = jensenshannon(shares, CALM, 2) ** 2 / 0.01
    assert (found.distance, found.entropy) == (pytest.approx(3), pytest.approx(3))
    assert found.histogram == pytest.approx(divergence)
    assert found.whole == pytest.approx(np.linalg.norm([3, 3, divergence]))


def test_more_certainty_is_no_drift() -> None:
    found = at(0.0, 0.5, entropy=0.01).level(HERE, USUAL)
    assert found is not None
    assert (found.entropy, found.whole) == (0, pytest.approx(1, rel=1e-3))


def test_weights_leave_signals_out() -> None:
    config = DriftConfig(entropy_weight=0.0, histogram_weight=0.0)
    assert level(1.5, 9.0, 9.0, config).whole == 1.5
    assert level(3.0, 4.0, 9.0, replace(config, entropy_weight=1.0)).whole == 5


def test_without_a_usual_the_distance_is_left() -> None:
    found = at(0.0, 1.5, entropy=0.9).level(HERE, None)
    assert found is not None
    assert (found.whole, found.entropy) == (pytest.approx(3), 0)


def test_few_frames_are_no_level() -> None:
    drift = Drift(DriftConfig(smoothing_frames=50))
    add(drift, 9.0, 9.0, frames=49)
    assert drift.level(HERE, USUAL) is None
    add(drift, 9.0, 9.0, frames=1)
    assert drift.level(HERE, USUAL) is not None


def test_another_adapter_begins_at_its_own_usual() -> None:
    drift = at(0.0, 0.5, entropy=0.9, shares=np.array([1.0, 0.0]))
    drift.begin(USUAL)
    found = drift.level(HERE, USUAL)
    assert found is not None
    assert (found.entropy, found.histogram) == (0, pytest.approx(0, abs=1e-9))
    drift.begin(None)
    assert drift.level(HERE, USUAL) is not None
    drift.add(np.zeros(2), 0.1, np.ones(3) / 3, 10)  # other words: another number of classes
    assert drift.level(HERE, None) is not None
