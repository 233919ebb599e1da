"""Who is the best of those that are free, and when it may serve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from acclimate.adapt.gate.contest import SERVING, Contest
from acclimate.adapt.gate.looks import VIEWS
from acclimate.adapt.gate.memory import Lesson
from tests.unit.adapt.gate.conftest import contender


@pytest.fixture
def hold(engine: Any, frames: Any, valid: Any, gate: Any) -> Any:
    def one(serving: float, settings: Any = gate, **others: float) -> Contest:
        bundles = {SERVING: contender("a1", error=serving)}
        bundles |= {name: contender(name, error=error) for name, error in others.items()}
        return Contest(engine, frames, valid, bundles, settings)

    return one


def test_the_best_is_found_and_takes_over(hold: Any) -> None:
    contest = hold(0.3, worse=0.4, better=0.2, best=0.1)
    assert contest.best == contest.free_winner() == "best"
    assert contest.gains["worse"].mean < 0 < contest.gains["better"].mean
    assert contest.gains[SERVING].mean == 0


def test_what_serves_stays_unless_it_is_beaten(hold: Any) -> None:
    assert hold(0.1, other=0.2).free_winner() is None
    assert hold(0.2, same=0.2).free_winner() is None


def test_too_small_a_gain_is_none(hold: Any, gate: Any) -> None:
    hard = replace(gate, margin=20.0, margin_learned=20.0)
    contest = hold(0.2, hard, other=0.1)
    assert contest.best == "other"
    assert contest.free_winner() is None


def test_a_jump_is_refused_even_for_a_gain(hold: Any, gate: Any) -> None:
    assert hold(0.5, replace(gate, max_jump_js=0.0), other=0.1).free_winner() is None


COLOUR = np.array([[2, 2, 2], [0.1, 0.1, 0.1]], np.float32)


def recoloured(error: float, elsewhere: float) -> dict[str, Any]:
    """What serves, and the same weights in other colours, in which they err on another share."""
    serving = contender("a1", error=error, elsewhere=elsewhere)
    return {SERVING: serving, "moved": replace(serving, inputs=serving.inputs | {"colour": COLOUR})}


def test_colours_alone_need_the_small_margin(
    engine: Any, frames: Any, valid: Any, gate: Any
) -> None:
    """The same weights in other colours: `margin`, not `margin_learned`."""
    easy = replace(gate, margin=0.0, margin_learned=50.0)
    contest = Contest(engine, frames, valid, recoloured(0.3, 0.2), easy)
    assert contest.free_winner() == "moved"
    bundles = {SERVING: contender("a1", error=0.3), "learned": contender("a2", error=0.2, luck=0)}
    contest = Contest(engine, frames, valid, bundles, easy)
    assert contest.gains["learned"].low > 0
    assert contest.free_winner() is None


def test_dressed_scenes_have_half_a_say(
    engine: Any, frames: Any, valid: Any, gate: Any, truth: Any
) -> None:
    """Both are better by the stream's frames alone, and labels speak against them."""
    wrong = Lesson(np.stack(frames), ((truth + 1) % 3).astype(np.uint8), None)
    bundles = recoloured(0.3, 0.1) | {"other": contender("a2", error=0.1, luck=0)}
    alone = Contest(engine, frames, valid, bundles, gate)
    told = Contest(engine, frames, valid, bundles, gate, wrong)
    for name in ("moved", "other"):
        against = told.told(told.champions[name], told.champions[SERVING])
        assert against is not None
        assert against.high < 0 < alone.gains[name].low
        assert told.gains[name].mean == pytest.approx((alone.gains[name].mean + against.mean) / 2)
    assert alone.told(alone.champions["moved"], alone.champions[SERVING]) is None


def test_champions_are_asked_once(hold: Any, engine: Any) -> None:
    contest = hold(0.3, other=0.2)
    asked = len(engine.asked)
    assert asked == 2 * 12 * VIEWS
    assert contest.against_best is contest.against_best
    contest.free_winner()
    assert len(engine.asked) == asked
    contest.ask(contender("new"))
    assert len(engine.asked) == asked + 12 * VIEWS
