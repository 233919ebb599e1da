"""Hand-made drives: when the benchmark says that it rang, and what it counts as held."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from acclimate.configs.drift import DriftConfig
from benchmarks.drift import MOMENTS, begun, chosen, course, delay, held, measured, rings
from benchmarks.drift_streams import Seen, joined, part

CONFIG = DriftConfig(reference_frames=100, smoothing_frames=50, threshold=2.0)
SEEN = (100.0, 30.0, 20.0)  # light, contrast, change


def drive(looks: int, away: float = 0.0, look: tuple[float, float, float] = SEEN) -> Seen:
    """To and fro by 1 beside the road, `away` from where it was known, and never surprised."""
    embedding = np.zeros((looks, 2))
    embedding[:, 0] = np.where(np.arange(looks) % 2, 1.0, -1.0)
    embedding[:, 1] = away
    shares, confidence = np.full((looks, 2), 0.5), np.tile([0.9, 0.9, 0.1], (looks, 1))
    return Seen(embedding, shares, confidence, np.tile(look, (looks, 1)))


CALM = drive(100)


@pytest.mark.parametrize("away", [2.5, 3.0, 6.0, 10.0])
def test_a_delay_is_that_of_a_moving_average(away: float) -> None:
    """It reaches `away * (1 - exp(-frames / smoothing))`, ten frames a look."""
    wanted = math.ceil(-5 * math.log(1 - 2.0 / away))
    assert delay(CALM, drive(60, away), CONFIG) == pytest.approx(wanted, abs=0)


def test_what_never_rings_or_rang_before_has_no_delay() -> None:
    assert delay(CALM, drive(60, 1.5), CONFIG) is None
    assert delay(joined(CALM, drive(30, 9.0)), drive(60, 9.0), CONFIG) is None


def test_false_alarms_are_counted_by_their_beginnings_and_hours() -> None:
    twice = joined(CALM, drive(10, 5.0), drive(90), drive(10, 5.0), drive(90))
    streams = dict.fromkeys(("calm", "night", "fog", "rain", "cast", "gradual night"), twice)
    found = measured({1: streams}, CONFIG)
    assert found["false_alarms"] == {1: [2, 2, 2, 2, 1]}, "the last begins after the first ring"
    looks = sum(300 - 30 * i - 10 for i in range(MOMENTS))
    assert found["calm_hours"] == pytest.approx(looks / 3600, abs=1e-3)
    assert found["false_alarms_per_hour"] == pytest.approx(9 / (looks / 3600), abs=0.01)
    assert (found["missed"], found["shifts"]) == (0, 5 * MOMENTS)
    assert found["delay_s"]["fog"]["by_seed"] == {1: found["delay_s"]["rain"]["by_seed"][1]}


def test_rings_are_beginnings() -> None:
    assert rings(np.array([True, True, False, True, False])) == 2
    assert rings(np.zeros(3, bool)) == 0


def test_the_threshold_is_the_lowest_that_stays_silent() -> None:
    dev = [{"calm": CALM}, {"calm": joined(CALM, drive(60, 1.0))}]
    found = chosen(dev, CONFIG)
    assert found == 1.2, "the plateau is at 1, a little above with the way to and fro"
    drives = [one for streams in dev for one in begun(streams["calm"])]
    for threshold, silent in ((found, True), (found - 0.2, False)):
        config = replace(CONFIG, threshold=threshold)
        assert silent == (not any(rings(course(one, config).alarm) for one in drives))


def test_what_is_parked_or_covered_starts_nothing() -> None:
    streams = {
        "calm": CALM,
        "parked": drive(30, 9.0, (100.0, 30.0, 0.1)),
        "covered": drive(30, 9.0, (4.0, 2.0, 0.1)),
    }
    found = held(streams, replace(CONFIG, threshold=2.0))
    for name in ("parked", "covered"):
        assert found[name]["starts"] == 0
        assert found[name]["starts_without_rules"] == 30 - 1, "after the second look"
    assert found["covered"]["alarms_afterwards"] == 0
    assert found["covered"]["alarms_afterwards_without_rules"] == 1
    assert found["driving"] == {"looks": 100, "taken_for_parked": 0, "taken_for_blinded": 0}


def test_parts_join_to_the_whole() -> None:
    again = joined(part(CALM, 0, 40), part(CALM, 40, 100))
    assert (again.embedding == CALM.embedding).all()
    assert len(again) == 100
