"""Agreement of label maps against scikit-learn's scores."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import jaccard_score, recall_score

from acclimate.adapt.signals.agreement import (
    accuracy,
    least_recall,
    mean_iou_of,
    present,
    shares,
    tables,
)

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 4, (3, 20, 30)).astype(np.uint8)
GUESS = np.where(RNG.random(TRUTH.shape) < 0.6, TRUTH, RNG.integers(0, 4, TRUTH.shape)).astype("u1")


def test_mean_iou_and_recall_are_scikit_learns() -> None:
    whole = tables(TRUTH, GUESS, 5).sum(0)
    flat = TRUTH.ravel(), GUESS.ravel()
    counted = present(whole)
    assert counted.tolist() == [True] * 4 + [False]
    assert mean_iou_of(whole, counted) == pytest.approx(jaccard_score(*flat, average="macro"))
    assert least_recall(whole) == pytest.approx(recall_score(*flat, average=None).min())
    assert accuracy(whole) == pytest.approx((TRUTH == GUESS).mean())


def test_each_frame_has_a_table_and_masks_leave_pixels_out() -> None:
    where = RNG.random(TRUTH.shape) < 0.5
    each = tables(TRUTH, GUESS, 5, where)
    assert each.shape == (3, 5, 5)
    assert each.sum((1, 2)).tolist() == where.sum((1, 2)).tolist()
    assert mean_iou_of(each, present(each.sum(0))).shape == (3,)


@pytest.mark.parametrize(("pixels", "counts"), [(2, False), (3, True)])
def test_a_class_is_present_above_two_in_a_thousand(pixels: int, counts: bool) -> None:
    table = np.diag([1000.0 - pixels, pixels])
    assert present(table)[1] == counts


def test_nothing_is_no_agreement() -> None:
    empty = np.zeros((3, 3))
    assert (accuracy(empty), least_recall(empty)) == (0, 0)
    assert mean_iou_of(empty, present(empty)) == 0


def test_shares_sum_to_one() -> None:
    assert shares(np.array([[0, 0], [2, 0]], np.uint8), 4).tolist() == [0.75, 0.0, 0.25, 0.0]
