"""The ablation's ways in and its sums, without a round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from acclimate.configs.adapt import AdaptConfig
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.world import Drive, Shift
from benchmarks.ablation import (
    BEFORE,
    CONDITIONS,
    DRIVE,
    OPTIONS,
    finer,
    stretches,
    summary,
    worth_of,
)
from benchmarks.drive import FPS, STRIDE

WORDS = load_vocabulary("world")


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_finer_is_twice_as_many_rounds_to_the_same_end(name: str) -> None:
    usual = CONDITIONS[name]
    twice = finer(usual)
    assert len(twice) == 2 * len(usual)
    assert {shift.kind for shift in twice} == {usual[0].kind}
    assert twice[-1] == usual[-1]
    assert [s.strength for s in twice] == sorted(s.strength for s in twice)


def test_rounds_see_stretches_of_one_drive_with_their_truth() -> None:
    shifts = [Shift("night", 0.3), Shift("night", 0.6)]
    seen = stretches(3, shifts, WORDS)
    drive = Drive(3, fps=FPS)
    image, truth = drive.frame(DRIVE // 2 + STRIDE, shifts[1])
    assert len(seen) == 2
    one = seen[1][1]
    assert np.array_equal(one.frame, image)
    assert np.array_equal(one.truth, WORDS.from_source()[truth])
    assert np.array_equal(one.before[0], drive.frame(DRIVE // 2 + STRIDE - 1, shifts[1])[0])
    assert len(one.before) == BEFORE


def test_options_change_keys_of_a_round() -> None:
    assert OPTIONS["default"].keys == {}
    for option in OPTIONS.values():
        assert AdaptConfig(**option.keys).problems() == []


def test_gains_are_over_concepts_and_over_each_streams_best_free() -> None:
    by_day = {"concepts": 36.0, "a": 34.5}
    runs: list[dict[str, Any]] = [
        {"best_free": "concepts", "miou": {"concepts": 20.0, "colours_half": 18.0, "a": 23.0}},
        {"best_free": "colours_half", "miou": {"concepts": 10.0, "colours_half": 14.0, "a": 13.0}},
    ]
    runs = [run | {"by_day": by_day} for run in runs]
    assert summary(runs, ["a"]) == {
        "concepts": {"miou": 15.0}, "colours_half": {"miou": 16.0},
        "a": {"miou": 18.0, "over_concepts": 3.0, "over_best_free": 1.0, "unloading": 1.5},
    }  # fmt: skip


def test_what_labels_are_worth_is_the_mean_over_streams() -> None:
    runs: list[dict[str, Any]] = [
        {"labels": {"a": 1.0, "b": 4.0}},
        {"labels": {"a": 2.0, "b": 5.0}},
    ]
    assert worth_of(runs) == {"a": 1.5, "b": 4.5}
