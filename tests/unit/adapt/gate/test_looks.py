"""Views are asked, and put back where they lie in the frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from acclimate.adapt.gate.looks import NOWHERE, VIEWS, ZOOMED, look
from tests.unit.adapt.gate.conftest import contender


def test_without_errors_every_view_says_the_truth(engine: Any, frames: Any, truth: Any) -> None:
    seen = look(engine, contender(error=0), frames)
    assert seen.labels.shape == (VIEWS, *truth.shape)
    for view, labels in enumerate(seen.labels):
        inside = labels != NOWHERE
        wrong = (labels != truth)[inside].mean()
        assert wrong < (0.1 if view == ZOOMED else 1e-9)  # edges of blocks move in the zoom
        assert inside.mean() == (pytest.approx(0.75**2) if view == ZOOMED else 1)
    assert np.array_equal(seen.plain, truth)


def test_votes_are_weighted_or_counted(engine: Any, frames: Any, truth: Any) -> None:
    seen = look(engine, contender(error=0, sure=0.6), frames[:1])
    votes = seen.votes(0, 3)
    assert votes.shape == (3, truth[0].size)
    corner = votes[:, 0]  # beyond the zoomed view: two votes of 0.6
    assert corner[truth[0, 0, 0]] == pytest.approx(1.2, abs=0.01)
    assert corner.sum() == pytest.approx(1.2, abs=0.01)
    assert seen.votes(0, 3, weigh=False).max() == 3


def test_only_what_is_asked_for_is_paid_for(engine: Any, frames: Any) -> None:
    look(engine, contender(), frames, 1)
    assert len(engine.asked) == 12
    look(engine, contender(), frames)
    assert len(engine.asked) == 12 * (1 + VIEWS)
