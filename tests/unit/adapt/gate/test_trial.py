"""Candidates before the court: what is accepted, and every reason there is to refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from acclimate.adapt.gate.contest import BASE, SERVING, Contest
from acclimate.adapt.gate.looks import VIEWS
from acclimate.adapt.gate.memory import Lesson
from acclimate.adapt.gate.trial import Court
from acclimate.model.colour import UNCHANGED
from tests.unit.adapt.gate.conftest import contender


@pytest.fixture
def court(engine: Any, frames: Any, valid: Any, gate: Any) -> Any:
    """What serves errs on 20 %, the best that is free on 10 %."""

    def one(settings: Any = gate, dressed: Lesson | None = None, **fields: Any) -> Court:
        bundles = {SERVING: contender("a1", error=0.2), "free": contender("free", error=0.1)}
        return Court(Contest(engine, frames, valid, bundles, settings, dressed), **fields)

    return one


@pytest.fixture
def lesson(frames: Any, truth: Any) -> Lesson:
    return Lesson(np.stack(frames), truth.astype(np.uint8), UNCHANGED)


def named(reasons: tuple[str, ...]) -> set[str]:
    return {reason.split()[0] for reason in reasons}


def test_better_than_the_best_is_accepted_with_its_card(court: Any) -> None:
    verdict = court().judge(contender("new", error=0.01))
    assert verdict.accepted, verdict.reasons
    assert verdict.card["over"] == "free"
    assert verdict.card["low"] <= verdict.card["gain"] <= verdict.card["high"]
    assert verdict.card["gain"] == pytest.approx(verdict.numbers["gain"], abs=0.01)
    assert verdict.card["confidence"] == 0.9


def test_better_than_what_serves_is_not_enough(court: Any) -> None:
    verdict = court().judge(contender("new", error=0.15))
    assert not verdict.accepted
    assert named(verdict.reasons) >= {"gain"}
    assert "over free" in verdict.reasons[0]


def test_what_serves_may_not_be_lost_for_the_best_that_is_free(
    engine: Any, frames: Any, valid: Any, gate: Any
) -> None:
    """An adapter serves and is better than the base, by less than it takes to be the best."""
    bundles = {SERVING: contender("a1", error=0.1), BASE: contender("base", error=0.11)}
    lenient = replace(gate, margin_learned=10.0)
    judges = Court(Contest(engine, frames, valid, bundles, lenient))
    assert judges.contest.best == BASE
    worse = judges.judge(contender("new", error=0.2))
    assert "against" in named(worse.reasons)
    assert worse.numbers["over_serving"] < 0 < judges.judge(contender("b", error=0.01)).numbers[
        "over_serving"
    ]  # fmt: skip


def test_no_worse_will_do_where_that_is_asked(court: Any, gate: Any) -> None:
    kind = court(replace(gate, contest="not_worse", max_teacher_drop=10.0))
    assert kind.judge(contender("new", error=0.1)).accepted
    assert not kind.judge(contender("new", error=0.3)).accepted


def test_collapse_crosses_every_bound(court: Any) -> None:
    """It may well win the duel: nothing is steadier."""
    verdict = court().judge(contender("new", always=1, sure=1.0))
    assert named(verdict.reasons) >= {
        "pseudo_miou", "agreement", "histogram_js", "jump_js", "least_class_recall",
        "teacher_drop",
    }  # fmt: skip


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_asked(court: Any, engine: Any, bad: float) -> None:
    one = court()
    asked = len(engine.asked)
    verdict = one.judge(contender("new", error=bad))
    assert verdict.reasons == ("the adapter holds NaN or infinity",)
    assert len(engine.asked) == asked


def test_forgetting_is_refused(court: Any, lesson: Lesson, gate: Any) -> None:
    """On the held-out frames it is better; on what it remembers and on the source it is not."""
    wrong = replace(lesson, labels=((lesson.labels + 1) % 3).astype(np.uint8))
    for name, asked in (
        ("memory_drop", {"lessons": [lesson]}),
        ("source_drop", {"source": lesson}),
    ):
        kind = court(replace(gate, max_memory_drop=3.0, max_source_drop=3.0), **asked)
        kept = kind.judge(contender("new", error=0.01))
        assert kept.accepted
        assert kept.numbers[name] < 0
        lost = kind.judge(contender("new", error=0.4))
        assert name in named(lost.reasons)
        assert lost.numbers[name] > 3
    strict = court(replace(gate, max_memory_drop=3.0), lessons=[wrong])
    turned = strict.judge(contender("new", error=0.01))
    assert named(turned.reasons) == {"memory_drop"}


def test_what_champions_remember_is_asked_once(court: Any, lesson: Lesson, engine: Any) -> None:
    one = court(lessons=[lesson], source=lesson)
    one.judge(contender("new", error=0.05))
    asked = len(engine.asked)
    one.judge(contender("newer", error=0.04))
    assert set(engine.asked[asked:]) == {"newer"}


def test_labels_decide_where_there_are_some(court: Any, gate: Any) -> None:
    """The mean gains, a safety class loses 10 points: refused, by name."""
    before, after = np.diag([50.0, 50, 50]), np.diag([50.0, 50, 50])
    before[0, 1] = 30
    after[2, 0] = 5.6
    tables = {"a1": before, "new": after}
    one = court(labelled=lambda b: tables[b.id], names=("road", "sky", "person"), safety=[2])
    verdict = one.judge(contender("new", error=0.01))
    assert verdict.numbers["labelled_miou_after"] > verdict.numbers["labelled_miou_before"]
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith("person loses 10.1 points")
    plain = court(labelled=lambda b: tables[b.id], names=("road", "sky", "person"))
    assert plain.judge(contender("new", error=0.01)).accepted
    assert verdict.numbers["labelled_loss_person"] == pytest.approx(10.1, abs=0.05)
    worse = court(labelled=lambda b: {"a1": after, "new": before}[b.id], names=("a", "b", "c"))
    assert named(worse.judge(contender("new", error=0.01)).reasons) == {"labelled_drop"}


def test_small_steps_on_labels_do_not_add_up(
    engine: Any, frames: Any, valid: Any, gate: Any
) -> None:
    """What serves has lost a point of the base's already; another one is one too many."""
    told = {"base": 50.0, "a1": 49.2, "new": 48.4}
    tables = {name: np.diag([n, n]) + (50 - n) * (1 - np.eye(2)) for name, n in told.items()}
    for names, held in ((("a1",), True), (("a1", "base"), False)):
        bundles = dict(zip((SERVING, BASE), (contender(n, error=0.2) for n in names), strict=False))
        contest = Contest(engine, frames, valid, bundles, replace(gate, max_labelled_drop=4.0))
        one = Court(contest, labelled=lambda b: tables[b.id], names=("road", "sky"))
        verdict = one.judge(contender("new", error=0.01))
        assert verdict.accepted is held, verdict.reasons
        assert verdict.numbers["labelled_miou_before"] == pytest.approx(100 * 49.2 / 50.8)


def test_nan_on_labels_is_no_pass(court: Any) -> None:
    empty = court(labelled=lambda _: np.zeros((3, 3)))
    assert "labelled_drop" in named(empty.judge(contender("new", error=0.01)).reasons)


def test_what_informs_decides_nothing(court: Any) -> None:
    verdict = court(report=lambda _: {"flip_consistency": 0.0}).judge(contender("new", error=0.01))
    assert verdict.accepted
    assert verdict.numbers["flip_consistency"] == 0


@pytest.fixture
def worn(lesson: Lesson) -> Lesson:
    """Dressed scenes: the same frames and labels, in a bundle's own colours."""
    return replace(lesson, colour=None)


def test_labels_of_dressed_scenes_accept_what_differs_from_the_champion(
    court: Any, gate: Any, worn: Lesson
) -> None:
    strict = replace(gate, min_agreement=0.999, max_histogram_js=1e-9, max_teacher_drop=0.0)
    candidate = contender("new", error=0.01)
    assert not court(strict).judge(candidate).accepted
    found = court(strict, dressed=worn).judge(candidate)
    assert found.accepted, found.reasons
    assert found.numbers["dressed_low"] <= found.numbers["dressed_gain"]
    assert found.numbers["dressed_gain"] > 5


def test_labels_that_lack_a_class_excuse_nobody_who_loses_it(court: Any, worn: Lesson) -> None:
    """Of class 2 the scenes know nothing: bounds on what the champion sees hold as without them."""
    partly = replace(worn, labels=np.where(worn.labels == 2, 255, worn.labels).astype(np.uint8))
    one = court(dressed=partly)
    assert not one.contest.labels_cover
    lost = one.judge(contender("merged", error=0.01, merge=1.0))
    assert lost.numbers["dressed_low"] > 5
    assert "least_class_recall" in named(lost.reasons)
    assert one.judge(contender("new", error=0.01)).accepted
    assert court(dressed=worn).contest.labels_cover


def test_what_is_free_may_not_lose_on_labels_of_yours_either(court: Any) -> None:
    fine, lost = np.diag([50.0, 50, 50]), np.diag([50.0, 50, 50])
    lost[2, 0] = 20
    for free, name in ((fine, "free"), (lost, None)):
        tables = {"a1": fine, "free": free}
        one = court(labelled=lambda b, told=tables: told[b.id], names=("a", "b", "c"), safety=[2])
        assert one.contest.free_winner() == "free"
        assert one.free_winner() == name
    assert court().free_winner() == "free"


def test_labels_of_dressed_scenes_refuse_what_only_seems_steady(
    court: Any, gate: Any, worn: Lesson
) -> None:
    blind = replace(
        gate, min_agreement=0.0, max_histogram_js=1.0, max_jump_js=1.0, min_pseudo_miou=0.0,
        min_class_recall=0.0, max_teacher_drop=100.0, margin_learned=0.0,
    )  # fmt: skip
    merged = contender("merged", error=0.0001, merge=1.0)
    verdict = court(blind, dressed=worn).judge(merged)
    assert not verdict.accepted
    assert any("on dressed scenes" in reason for reason in verdict.reasons)


def test_dressed_scenes_excuse_a_jump_but_no_loss(
    court: Any, gate: Any, worn: Lesson, lesson: Lesson
) -> None:
    strict = replace(gate, max_jump_js=1e-9, max_duel_loss=0.0, margin_dressed=0.0)
    source = replace(lesson, labels=(lesson.labels + 1) % 3)
    settings = replace(strict, max_source_drop=0.1)
    found = court(settings, dressed=worn, source=source).judge(contender("new", error=0.01))
    assert named(found.reasons) == {"source_drop"}
    assert "jump_js" in named(court(settings).judge(contender("new", error=0.01)).reasons)
    lost = court(strict, dressed=worn).judge(contender("worse", error=0.3))
    assert {"duel", "gain"} <= named(lost.reasons)


def test_no_worse_on_dressed_scenes_will_do_where_that_is_asked(
    court: Any, gate: Any, worn: Lesson
) -> None:
    kind = court(replace(gate, contest="not_worse"), dressed=worn)
    assert kind.judge(contender("new", error=0.1)).accepted
    assert not kind.judge(contender("new", error=0.3)).accepted


def test_a_duel_surely_lost_is_nothing_to_go_on_from(court: Any, gate: Any, worn: Lesson) -> None:
    """Not even where dressed scenes would have it; one that is lost by little is."""
    lenient = replace(gate, margin=100.0, max_jump_js=1.0)
    worse = contender("worse", error=0.15)
    found = court(lenient, dressed=worn).judge(worse)
    assert (found.accepted, found.sound) == (False, True)
    assert "duel" in named(found.reasons)
    assert not court(replace(lenient, margin=0.1), dressed=worn).judge(worse).sound


@pytest.mark.parametrize(("elsewhere", "moves"), [(0.05, True), (0.3, False)])
def test_a_candidate_serves_in_the_colours_that_suit_it(
    engine: Any, frames: Any, valid: Any, gate: Any, elsewhere: float, moves: bool
) -> None:
    colour = UNCHANGED + np.float32([[0], [0], [0], [0], [1], [0], [0]])
    free = replace(contender("free", error=0.1))
    free = replace(free, inputs=free.inputs | {"colour": colour})
    bundles = {SERVING: contender("a1", error=0.2), "free": free}
    judges = Court(Contest(engine, frames, valid, bundles, gate))
    candidate = contender("new", error=0.15, elsewhere=elsewhere)
    found = judges.suited(candidate)
    assert found is not None
    assert np.array_equal(found.bundle.inputs["colour"], colour if moves else UNCHANGED)
    asked = len(engine.asked)
    assert judges.judge(found.bundle, found).reasons == judges.judge(found.bundle).reasons
    assert len(engine.asked) - asked == 12 * VIEWS, "what was asked once is known"


def test_nothing_suits_what_is_not_finite(court: Any) -> None:
    assert court().suited(contender("new", error=float("nan"))) is None
