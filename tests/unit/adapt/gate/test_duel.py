"""Duels between contenders whose errors are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from acclimate.adapt.gate.duel import duel, reference, steadier
from acclimate.adapt.gate.looks import NOWHERE, Looks, look
from tests.unit.adapt.gate.conftest import contender


@pytest.fixture
def ask(engine: Any, frames: Any) -> Any:
    return lambda **inputs: look(engine, contender(**inputs), frames)


@pytest.mark.parametrize("by", [duel, steadier])
@pytest.mark.parametrize(("better", "worse"), [(0.05, 0.1), (0.2, 0.3), (0.3, 0.33)])
def test_fewer_errors_win(ask: Any, valid: Any, better: float, worse: float, by: Any) -> None:
    """Both ways round; what it gains is what labels would say, within a third."""
    one, other = ask(error=better), ask(error=worse)
    gain, loss = (by(*pair, 3, valid, 0.95) for pair in ((one, other), (other, one)))
    assert gain.low > 0 > loss.high
    assert gain.mean == pytest.approx(-loss.mean)


def test_the_same_is_no_better(ask: Any, valid: Any) -> None:
    assert duel(ask(error=0.2), ask(error=0.2), 3, valid, 0.9).mean == 0


def test_the_vote_of_many_views_is_nearer_to_the_truth(ask: Any, valid: Any, truth: Any) -> None:
    one, other = ask(error=0.2), ask(error=0.25)
    said = reference([one, other], 3, valid)
    told = said.labels != NOWHERE  # the rest is a tie
    right = (said.labels == truth)[told].mean()
    assert right > 0.9 > 0.82 > (one.plain == truth).mean()
    sure = reference([ask(error=0.05), ask(error=0.1)], 3, valid)
    right = sure.labels == truth
    assert 0 < sure.confident.mean() < 1
    assert right[sure.confident].mean() > right.mean()


def test_sureness_buys_no_vote(ask: Any, valid: Any, truth: Any) -> None:
    """One takes class 2 for 1 in every view and is much surer of it than the other of the truth:
    by weight its error would become the truth, by number they are divided."""
    modest, loud = ask(error=0.1, sure=0.3), ask(error=0.1, sure=1.0, merge=1)
    by_weight, by_number = (reference([loud, modest], 3, valid, weigh) for weigh in (True, False))
    lost = truth == 2
    assert (by_weight.labels[lost] == 1).mean() > 0.9 > 0.3 > (by_number.labels[lost] == 1).mean()
    assert duel(loud, modest, 3, valid, 0.9) == duel(
        ask(error=0.1, merge=1), modest, 3, valid, 0.9
    )  # fmt: skip


def test_each_is_asked_by_its_own_views(ask: Any, valid: Any) -> None:
    """One class everywhere is never unsteady; a class that only one has lost counts against it."""
    collapsed, right = ask(always=1), ask(error=0.05)
    assert steadier(right, collapsed, 3, valid, 0.9).mean < 0
    merged = ask(error=0.0001, merge=1)
    assert steadier(merged, right, 3, valid, 0.9).high < 0


def test_what_is_hidden_counts_nowhere(ask: Any, valid: Any) -> None:
    hood = valid.copy()
    hood[24:] = False
    said = reference([ask(error=0.1)], 3, hood)
    assert (said.labels[:, 24:] == NOWHERE).all()
    assert not said.confident[:, 24:].any()
    a, b = ask(error=0.1), ask(error=0.1)
    worse_below = Looks(b.labels.copy(), b.sure)
    worse_below.labels[0, :, 24:] = 0
    assert duel(worse_below, a, 3, hood, 0.9).mean == 0


def test_each_frame_hides_what_its_camera_hides(ask: Any, valid: Any) -> None:
    """Every other frame is of a camera that sees the bonnet."""
    hidden = np.stack([valid] * 12)
    hidden[::2, 24:] = False
    said = reference([ask(error=0.1)], 3, hidden)
    assert (said.labels[::2, 24:] == NOWHERE).all()
    assert (said.labels[1::2, 24:] != NOWHERE).mean() > 0.9
    a, b = ask(error=0.1), ask(error=0.1)
    worse = Looks(b.labels.copy(), b.sure)
    worse.labels[0, ::2, 24:] = 0
    assert duel(worse, a, 3, hidden, 0.9).mean == 0
    worse.labels[0, 1::2, 24:] = 0
    assert duel(worse, a, 3, hidden, 0.9).high < 0
