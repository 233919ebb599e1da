"""Who is the best of those that are free, and when it may serve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from acclimate.adapt.gate.contest import BASE, SERVING, Contest
from acclimate.adapt.gate.looks import VIEWS
from acclimate.adapt.gate.memory import Lesson
from acclimate.adapt.signals.bootstrap import Gain
from acclimate.model.colour import UNCHANGED
from tests.unit.adapt.gate.conftest import contender


@pytest.fixture
def hold(engine: Any, frames: Any, valid: Any, gate: Any) -> Any:
    def one(serving: float, settings: Any = gate, **others: float) -> Contest:
        bundles = {SERVING: contender("a1", error=serving)}
        bundles |= {name: contender(name, error=error) for name, error in others.items()}
        return Contest(engine, frames, valid, bundles, settings)

    return one


def over(contest: Contest, name: str, other: str = SERVING) -> Gain:
    """What one champion gains over another."""
    return contest.gain(contest.champions[name], contest.champions[other])


def test_the_best_is_found_and_takes_over(hold: Any) -> None:
    contest = hold(0.3, worse=0.4, better=0.2, best=0.1)
    assert contest.best == contest.free_winner() == "best"
    assert over(contest, "worse").mean < 0 < over(contest, "better").mean
    assert contest.over_serving == over(contest, "best")
    assert over(contest, SERVING).mean == 0


def test_what_serves_stays_unless_it_is_beaten(hold: Any) -> None:
    assert hold(0.1, other=0.2).free_winner() is None
    assert hold(0.2, same=0.2).free_winner() is None


def test_too_small_a_gain_is_none(hold: Any, gate: Any) -> None:
    hard = replace(gate, margin=20.0, margin_learned=20.0)
    contest = hold(0.2, hard, other=0.1)
    assert over(contest, "other").low > 0
    assert (contest.best, contest.free_winner()) == (SERVING, None)


def test_a_jump_is_refused_even_for_a_gain(hold: Any, gate: Any) -> None:
    assert hold(0.5, replace(gate, max_jump_js=0.0), other=0.1).free_winner() is None


COLOUR = UNCHANGED + np.float32([[0], [0], [0], [0], [1], [0], [0]])


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
    assert over(contest, "learned").low > 0
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
        assert against.high < 0 < over(alone, name).low
        mean = (over(alone, name).mean + against.mean) / 2
        assert over(told, name).mean == pytest.approx(mean)
    assert alone.told(alone.champions["moved"], alone.champions[SERVING]) is None


@pytest.mark.parametrize(("learned", "best"), [(0.12, "base moved"), (0.05, "learned")])
def test_what_was_learned_must_surely_beat_the_best_colours(
    engine: Any, frames: Any, valid: Any, gate: Any, learned: float, best: str
) -> None:
    """The base gains most in its colours; an adapter that only seems better does not pass."""
    base = contender("base", error=0.21, elsewhere=0.13)
    bundles = {
        SERVING: base, "base moved": replace(base, inputs=base.inputs | {"colour": COLOUR}),
        "learned": contender("learned", error=learned),
    }  # fmt: skip
    wide = replace(gate, margin_learned=3.0)
    assert Contest(engine, frames, valid, bundles, wide).best == best


def test_labels_that_say_so_allow_a_jump(
    engine: Any, frames: Any, valid: Any, gate: Any, truth: Any
) -> None:
    still = replace(gate, max_jump_js=0.0)
    right = Lesson(np.stack(frames), truth.astype(np.uint8), None)
    bundles = {SERVING: contender("a1", error=0.5), "other": contender("a2", error=0.1)}
    assert Contest(engine, frames, valid, bundles, still).free_winner() is None
    assert Contest(engine, frames, valid, bundles, still, right).free_winner() == "other"


def test_an_adapter_meets_the_base_in_the_colours_that_suit_it(
    engine: Any, frames: Any, valid: Any, gate: Any
) -> None:
    """It is far better than what serves, and so steady in other colours that no duel with what
    serves would say as much; over the base as it should be served it gains nothing."""
    serving = contender("a1", error=0.5, elsewhere=0.2)
    base = contender("base", error=0.4, elsewhere=0.1)
    bundles = {SERVING: serving, BASE: base}
    for name, one in (("a1 moved", serving), ("base moved", base)):
        bundles[name] = replace(one, inputs=one.inputs | {"colour": COLOUR})
    contest = Contest(engine, frames, valid, bundles, gate)
    assert contest.best == contest.free_winner() == "base moved"
    assert over(contest, "a1 moved", "base moved").mean < 0


@pytest.mark.parametrize(("right", "back"), [(True, "base"), (False, None)])
def test_by_labels_an_adapter_goes_as_it_came(
    engine: Any, frames: Any, valid: Any, gate: Any, truth: Any, right: bool, back: str | None
) -> None:
    """The stream's own frames do not tell them apart; labels of dressed scenes do."""
    said = (truth if right else (truth + 1) % 3).astype(np.uint8)
    bundles = {SERVING: contender("a1", error=0.3), BASE: contender("base", error=0.1, luck=0)}
    wide = replace(gate, margin_learned=60.0)
    contest = Contest(engine, frames, valid, bundles, wide, Lesson(np.stack(frames), said, None))
    assert (contest.best, contest.free_winner()) == (BASE, back)


def test_champions_are_asked_once(hold: Any, engine: Any) -> None:
    contest = hold(0.3, other=0.2)
    asked = len(engine.asked)
    assert asked == 2 * 12 * VIEWS
    assert contest.against_best is contest.against_best
    contest.free_winner()
    assert len(engine.asked) == asked
    contest.ask(contender("new"))
    assert len(engine.asked) == asked + 12 * VIEWS
