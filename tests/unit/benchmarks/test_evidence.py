"""Numbers made of units, on tables small enough to know by heart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from benchmarks.evidence import Rows, class_ious, details, gain_interval, mean_ious, per_shift
from benchmarks.evidence_rounds import all_rounds, of_rounds, returns
from benchmarks.resume import Unit


def table(right: int, wrong: int) -> list[list[int]]:
    """Two classes, alike: each IoU is right / (right + 2 wrong)."""
    return [[right, wrong], [wrong, right]]


GOOD, FAIR, BAD = [table(90, 5)] * 3, [table(80, 10)] * 3, [table(50, 25)] * 3  # 90, 80, 50 %
NORM = "gamma_and_filter"


def unit(row: str, seed: int) -> Unit:
    return Unit("default", "sudden", row, seed)


def free(concepts: Any, norm: Any) -> dict[str, Any]:
    rows = {"frozen": BAD, "frozen_with_concepts": concepts, NORM: norm}
    return {"tables": {row: {"day": said, "night": said} for row, said in rows.items()}}


def whole(before: Any, after: Any, verdict: str = "accepted") -> dict[str, Any]:
    rows = {"arriving": before, "before_round": before, "adapted": after}
    told = {"verdict": verdict, "segment": "night", "recalled": [], "seconds": 30.0, "peak_mb": 900}
    return {
        "tables": {row: {"day": said, "night": said} for row, said in rows.items()},
        "rounds": [told], "day_in_the_end": after,
    }  # fmt: skip


def test_iou_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 3, 500), rng.integers(0, 4, 500)
    counts = confusion_matrix(truth, guess, labels=range(4)).astype(float)
    wanted = 100 * jaccard_score(truth, guess, labels=[0, 1, 2], average=None)
    assert class_ious(counts)[:3] == pytest.approx(wanted)
    assert np.isnan(class_ious(counts)[3])  # the labels have no such class
    assert mean_ious(counts) == pytest.approx(wanted.mean())


def test_interval_of_scenes_that_all_gain_alike_has_no_width() -> None:
    good, fair = np.array(GOOD, float), np.array(FAIR, float)
    assert gain_interval([(good, fair), (good, fair)]) == (10.0, 10.0, 10.0)
    assert gain_interval([(fair, fair)]) == (0.0, 0.0, 0.0)


def test_interval_covers_what_scenes_differ_in() -> None:
    mixed = np.array([table(90, 5), table(80, 10), table(50, 25)], float)
    fair = np.array(FAIR, float)
    gain, low, high = gain_interval([(mixed, fair)])
    assert low < gain < high
    assert low == pytest.approx(-30) and high == pytest.approx(10)  # one scene drawn three times


def test_gain_is_the_mean_over_seeds() -> None:
    good, fair, bad = (np.array(x, float) for x in (GOOD, FAIR, BAD))
    assert gain_interval([(good, fair), (fair, bad)])[0] == 20.0  # (10 + 30) / 2


def test_best_free_is_the_best_of_each_seed_and_never_frozen_names() -> None:
    found = {
        unit("free", 11): free(GOOD, FAIR), unit("free", 12): free(FAIR, GOOD),
        unit("adapted", 11): whole(FAIR, FAIR), unit("adapted", 12): whole(FAIR, GOOD),
    }  # fmt: skip
    rows = Rows(found, "default", "sudden")
    row = per_shift(rows, ["night"])["night"]
    assert row == {
        "frozen": 50.0, "frozen_with_concepts": 85.0, "best_free": 90.0, "adapted": 85.0,
        "baselines": {},
    }  # fmt: skip
    told = details(rows, ["night"], ("road", "sky"))["night"]
    assert told["best_free"] == {"11": "frozen_with_concepts", "12": NORM}
    assert told["gain_over_concepts"][0] == 0.0  # -10 and +10
    assert told["gain_over_best_free"][0] == -5.0  # -10 and 0


def test_only_seeds_that_both_sides_have_are_compared() -> None:
    found = {
        unit("free", 11): free(FAIR, FAIR), unit("free", 12): free(GOOD, GOOD),
        unit("adapted", 11): whole(FAIR, GOOD), unit("entropy", 12): {},
    }  # fmt: skip
    rows = Rows(found, "default", "sudden")
    row = per_shift(rows, ["day"])["day"]
    assert rows.seeds == [11]
    assert (row["frozen_with_concepts"], row["adapted"], row["baselines"]) == (80.0, 90.0, {})


def test_without_the_whole_system_there_is_no_gain() -> None:
    rows = Rows({unit("free", 11): free(FAIR, GOOD)}, "default", "sudden")
    assert per_shift(rows, ["day"])["day"]["adapted"] is None
    assert details(rows, ["day"], ("a", "b"))["day"]["gain_over_best_free"] is None
    assert per_shift(Rows({}, "default", "sudden"), ["day"]) == {}


def test_worst_class_is_named() -> None:
    uneven = [[[90, 0], [30, 30]]]  # road 90/120, sky 30/60
    found = {unit("free", 11): free(uneven, uneven)}
    told = details(Rows(found, "default", "sudden"), ["day"], ("road", "sky"))["day"]
    assert told["rows"]["frozen_with_concepts"]["11"]["worst"] == ["sky", 50.0]


def test_a_round_is_told_with_what_it_truly_changed() -> None:
    found = {
        unit("adapted", 11): whole(GOOD, FAIR), unit("adapted", 12): whole(FAIR, GOOD, "instead"),
        unit("adapted", 13): whole(FAIR, FAIR, "refused"),
    }  # fmt: skip
    rounds = all_rounds(found)
    assert [told["change"] for told in rounds] == [-10.0, 10.0, 0.0]
    counted = of_rounds(rounds)
    assert counted["verdicts"] == {"accepted": 1, "instead": 1, "refused": 1}
    assert (counted["worst_exchange"], counted["worst_accepted"]) == (-10.0, -10.0)
    assert (counted["seconds_median"], counted["peak_mb"]) == (30.0, 900)


def test_return_is_measured_from_the_base_by_day() -> None:
    found = {unit("free", 11): free(GOOD, GOOD), unit("adapted", 11): whole(GOOD, FAIR)}
    (back,) = returns(found, {"sudden": ("day", "night")})
    assert (back["before"], back["returned"], back["end_on_day"]) == (90.0, -10.0, -10.0)
