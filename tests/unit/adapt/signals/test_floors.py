"""Floors of safety classes."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.adapt.signals.floors import below_floor, class_losses, most_lost

BEFORE = np.array([[80.0, 20, 0], [20, 80, 0], [0, 0, 0]])  # IoU 80 / 120 for both
AFTER = np.array([[100.0, 0, 0], [50, 50, 0], [0, 0, 0]])  # 100 / 150 and 50 / 100


def test_losses_are_in_points_by_class_and_only_of_labelled_ones() -> None:
    losses = class_losses(BEFORE, AFTER)
    assert losses == pytest.approx({0: 0.0, 1: 100 * (2 / 3 - 1 / 2)})


def test_the_most_lost_is_against_whoever_had_most() -> None:
    better = most_lost([BEFORE, AFTER], BEFORE)
    assert better == pytest.approx({0: 0.0, 1: 0.0})
    assert most_lost([BEFORE, AFTER], AFTER) == pytest.approx(class_losses(BEFORE, AFTER))


@pytest.mark.parametrize(
    ("safety", "most", "told"), [([1], 2.0, 1), ([0], 2.0, 0), ([1], 20.0, 0), ([2], 0.0, 0)]
)
def test_only_safety_classes_have_floors(safety: list[int], most: float, told: int) -> None:
    reasons = below_floor(class_losses(BEFORE, AFTER), safety, ("road", "person", "sky"), most)
    assert len(reasons) == told
    assert all(reason.startswith("person loses 16.7 points") for reason in reasons)


def test_a_loss_that_is_no_number_is_no_pass() -> None:
    assert below_floor({0: float("nan")}, [0], ("person",), 5.0)
