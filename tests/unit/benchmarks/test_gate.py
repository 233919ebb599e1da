"""What the gate is measured with: candidates, what is true of them, and the counting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from acclimate.adapt.gate.judges import weigh
from acclimate.adapt.lora import lora_tensors
from acclimate.adapt.signals.bootstrap import Gain
from acclimate.adapt.source import Scenes
from acclimate.configs.gate import GateConfig
from acclimate.configs.schema import Config, ProbationConfig
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.runtime.bundle import Bundle
from acclimate.world import Shift
from benchmarks import gate
from benchmarks.gate_candidates import (
    EXTRAS,
    SABOTAGES,
    Plan,
    Tensors,
    Workshop,
    all_shifted,
    candidates,
    covered,
    not_a_number,
    snapshot,
    turn,
    two_swapped,
    with_colour,
)
from benchmarks.gate_numbers import area, by_kind, counts, curve, effect, roc, surplus
from benchmarks.gate_plot import picture
from benchmarks.gate_truth import CLEAR, Truth, probation
from benchmarks.scenes import DEV, DEV_STREAMS
from tests.unit.adapt.conftest import Make, frames, make  # noqa: F401

BLUE = np.float32([[0] * 3, [9] * 3, [0] * 3, [9] * 3, [0, 0, 1], [0] * 3, [1] * 3])


class Spy(Workshop):
    """Notes what it is asked to learn from."""

    learnt: tuple[Any, dict[str, Any]]

    def learn(self, frames: Any, marks: Sequence[int], **keys: Any) -> list[Tensors]:  # noqa: F811
        self.learnt = (list(frames), keys)
        return [self.start for _ in marks]


@pytest.fixture
def shop(make: Make, frames: list[Any], request: Any) -> Workshop:  # noqa: F811
    setup = make()
    owner = setup.words.owner.numpy()

    def build() -> Bundle:
        inputs = {n: v.numpy() for n, v in snapshot(setup.model).items()}
        empty = np.empty(0, np.uint8)
        return Bundle("x", {}, inputs | {"string_to_class": owner, "colour": BLUE}, empty, empty)

    taught = Scenes(np.stack(frames[:2]), np.stack(frames[:2])[..., 0] // 64)
    kind = getattr(request, "param", Workshop)
    return kind(
        setup.model, setup.words, setup.settings, frames, frames[3:], taught, build, seed=5
    )  # fmt: skip


def row(true_gain: float | None, accepted: bool, low: float | None = 0.0, **keys: Any) -> Any:
    reasons = [] if accepted else ["gain over base +0.1, 1.5 needed"]
    return {"kind": "round", "true_gain": true_gain, "accepted": accepted, "score": low,
            "reasons": reasons} | keys  # fmt: skip


# --- counting


def test_effect_by_its_definition() -> None:
    gains = (-0.51, -0.5, 0.0, 1.0, 1.01, None)
    assert [effect(row(gain, False)) for gain in gains] == [
        "harmful", "neither", "neither", "neither", "helpful", "harmful",
    ]  # fmt: skip


def test_counts() -> None:
    rows = [row(-3, True), row(-1, False), row(None, False), row(2, True), row(4, False),
            row(0, False, kind="broken")]  # fmt: skip
    told = {"harmful": 3, "harmful_accepted": 1, "helpful": 2, "helpful_accepted": 1,
            "neither": 1, "neither_accepted": 0}  # fmt: skip
    assert counts(rows) == told
    assert by_kind(rows)["broken"]["neither"] == 1
    assert by_kind(rows)["round"] == told | {"neither": 0}


def test_area_is_that_of_scikit_learn_with_ties_and_refusals() -> None:
    rng = np.random.default_rng(0)
    helpful, harmful = rng.normal(1, 1, 50).round(1), rng.normal(0, 1, 70).round(1)
    helpful[:5] = harmful[:20] = -np.inf
    _, false, true = roc(helpful, harmful)
    scores = np.maximum(np.concatenate([helpful, harmful]), -1e9)
    expected = roc_auc_score([1] * 50 + [0] * 70, scores)
    assert area(false, true) == pytest.approx(expected)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("duel", "told", "score"),
    [
        ((3.0, 2.0), None, 0.5), ((0.5, 0.0), (1.0, 0.25), 0.2), ((3.0, 2.0), (0.3, -0.2), 0.5),
        ((-2.0, -3.0), (4.0, 3.0), -4.5), ((9.0, 8.0), (-2.0, -3.0), -3.05),
        ((-2.0, -3.0), (-9.0, -9.5), -9.55),
    ],
)  # fmt: skip
def test_the_surplus_is_that_of_the_judge_whom_nobody_contradicts(
    duel: Any, told: Any, score: float
) -> None:
    """Its sign is the gate's own verdict, whichever way a candidate takes."""
    settings = GateConfig(margin_learned=1.5, margin_dressed=0.05)
    numbers = {"gain": duel[0], "gain_low": duel[1]}
    if told is not None:
        numbers |= {"dressed_gain": told[0], "dressed_low": told[1]}
    found = surplus(numbers, settings)
    assert found == pytest.approx(score)
    sides = [None if one is None else Gain(one[0], one[1], 9.0) for one in (duel, told)]
    assert sides[0] is not None
    assert (score >= 0) is not bool(weigh(sides[0], sides[1], settings, "base")[0])
    assert surplus({}, settings) is None


def test_what_another_bound_refuses_no_margin_accepts() -> None:
    sound = [row(2, True, 1.0), row(-2, False, 0.5)]
    assert curve(sound)["auc"] == 1
    bound = row(-2, False, 3.0, reasons=["agreement 0.5 must be >= 0.99"])
    assert curve([sound[0], bound])["auc"] == 1
    assert curve([sound[0], bound], bounds=False)["auc"] == 0


# --- candidates


def test_between_and_beyond(shop: Workshop) -> None:
    end = {name: value + 1 for name, value in shop.start.items()}
    for part in (0.0, 0.5, 1.0, 4.0):
        moved = shop.moved(end, part)
        assert all(torch.allclose(moved[n], v + part) for n, v in shop.start.items())


def test_noise_is_as_large_as_it_says(shop: Workshop) -> None:
    end = {name: value + 3 for name, value in shop.start.items()}
    noisy = shop.perturbed(end, 0.5)
    off = torch.cat([(noisy[n] - end[n]).flatten() for n in end])
    assert off.square().mean().sqrt().item() == pytest.approx(1.5, rel=0.15)


def test_each_training_starts_from_the_accepted_adapter(shop: Workshop) -> None:
    first = shop.learn(shop.frames, [1, 3])
    again = shop.learn(shop.frames, [1, 3])
    assert all(torch.equal(first[1][n], again[1][n]) for n in first[1])
    assert any(not torch.equal(first[0][n], first[1][n]) for n in first[0])
    assert any(not torch.equal(first[0][n], shop.start[n]) for n in first[0])


def far(shop: Workshop, end: Tensors) -> float:
    return sum(float((end[n] - shop.start[n]).square().sum()) for n in end)


def test_overtrained_goes_far(shop: Workshop) -> None:
    usual = shop.learn(shop.frames, [3])[0]
    assert far(shop, SABOTAGES["over-trained"](shop, 3)) > 9 * far(shop, usual)


def test_labels_teach(shop: Workshop) -> None:
    assert far(shop, shop.learn_with_labels(2)) > 0


@pytest.mark.parametrize("shop", [Spy], indirect=True)
def test_what_sabotages_learn_from(shop: Spy) -> None:
    def frames_of(name: str) -> Any:
        SABOTAGES[name](shop, 2)
        return shop.learnt[0]

    assert len(frames_of("one frozen image")) == 1
    assert np.stack(frames_of("blinded camera")).max() < 20
    noise = np.stack(frames_of("noise")).astype(float)
    assert abs(np.corrcoef(noise[..., :-1, 0].ravel(), noise[..., 1:, 0].ravel())[0, 1]) < 0.05
    assert all((frame[39:] == 0).all() for frame in frames_of("hooded camera"))
    assert frames_of("another condition") is not shop.other
    assert np.array_equal(frames_of("another condition"), shop.other)
    poisoned = frames_of("poisoned buffer")
    assert 2 * sum(any(f is own for own in shop.frames) for f in poisoned) < len(poisoned)
    SABOTAGES["collapsed"](shop, 2)
    assert shop.learnt[1]["strategy"] == "entropy"
    assert shop.learnt[1]["lr"] == pytest.approx(10 * shop.settings.lr)
    assert (shop.learnt[1]["max_class_share"], shop.learnt[1]["min_entropy"]) == (1, 0)  # unwatched


def test_covered_leaves_the_upper_part(frames: list[Any]) -> None:  # noqa: F811
    frame = frames[0]
    dark = covered(frame, 0.5)
    assert (dark[32:] == 0).all()
    assert np.array_equal(dark[:32], frame[:32])


def test_names_are_swapped_and_nothing_else(shop: Workshop) -> None:
    plain = shop.bundle(shop.start).inputs["string_to_class"]
    swapped = two_swapped(shop, shop.start).inputs["string_to_class"]
    moved = [i for i in range(4) if not np.array_equal(plain[:, i], swapped[:, i])]
    assert len(moved) == 2
    assert np.array_equal(plain[:, moved], swapped[:, moved[::-1]])
    shifted = all_shifted(shop, shop.start).inputs["string_to_class"]
    assert all(not np.array_equal(plain[:, i], shifted[:, i]) for i in range(4))
    assert np.array_equal(np.sort(plain.sum(0)), np.sort(shifted.sum(0)))


def test_broken_and_recoloured(shop: Workshop) -> None:
    broken = not_a_number(shop, shop.start).inputs
    assert sum(int(np.isnan(value).sum()) for value in broken.values()) == 1
    assert all(bool(value.isfinite().all()) for value in shop.start.values())
    own = with_colour(shop.bundle(shop.start), 0.0).inputs["colour"]
    assert np.array_equal(own[:4], BLUE[:4]) and not own[4:].any()
    wrong = with_colour(shop.bundle(shop.start), -0.5).inputs["colour"]
    assert np.array_equal(wrong[4:], [[0, 0, -0.5], [0] * 3, [-0.5] * 3])


def test_every_candidate_of_a_plan(shop: Workshop) -> None:
    plan = Plan((1, 2), 1, (0.5, 1.0), 1, len(SABOTAGES), len(EXTRAS))
    made = list(candidates(shop, plan, 0))
    assert len(made) == 2 + 2 + len(SABOTAGES) + len(EXTRAS)
    assert len({(kind, name) for kind, name, _ in made}) == len(made)
    restored = snapshot(shop.model)
    assert restored.keys() == lora_tensors(shop.model).keys()


def test_rotations_take_everything_equally_often() -> None:
    taken = [name for number in range(8) for name in turn("abcd", 3, number)]
    assert {taken.count(name) for name in "abcd"} == {6}


# --- cells


def test_enough_cells_and_none_that_chose_a_threshold() -> None:
    todo = gate.cells(0, dev=False, quick=False)
    plan = Plan()
    each = len(plan.marks) + len(plan.taught_parts) + plan.sabotages + plan.extras
    assert len(todo) * each >= 200
    assert len({cell.name for cell in todo}) == len(todo)
    assert not {cell.stream for cell in todo} & set(DEV_STREAMS)
    told = {seed for cell in todo for seed in cell.report_on}
    taught = [seed for cell in todo for seed in cell.taught]
    assert not told & ({*DEV} | set(taught))
    assert len(set(taught)) == len(taught)
    developed = gate.cells(0, dev=True, quick=False)
    assert all(set(cell.report_on) == set(DEV) for cell in developed)
    assert not {s for cell in developed for s in cell.taught} & set(taught)


def test_a_cell_that_was_done_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    monkeypatch.setattr(
        gate, "run_cell", lambda c, s, w, cell: runs.append(cell.name) or [row(1, True)]
    )
    cell, config = gate.cells(0, dev=False, quick=True)[0], Config()
    for settings in (config, config, replace(config, gate=replace(config.gate, margin=9.0))):
        assert gate.kept_or_run(settings, tmp_path, tmp_path, cell) == [row(1, True)]
    assert len(runs) == 2  # other settings are another measurement


# --- truth


class Knowing:
    """An engine that says the truth, or `always` one class; notes how often it is asked."""

    def __init__(self) -> None:
        self.truth: dict[bytes, Any] = {}
        self.asked = 0

    def infer(self, frame: Any, bundle: Bundle) -> Any:
        self.asked += 1
        always = bundle.inputs.get("always")
        labels = self.truth[frame.tobytes()] if always is None else np.full(frame.shape[:2], always)
        shares = np.bincount(labels.ravel(), minlength=256)[:14] / labels.size
        return SimpleNamespace(labels=labels.astype(np.uint8), histogram=shares,
                               confidence=np.array([0.9, 0, 0]))  # fmt: skip


def bundle_that(**inputs: Any) -> Bundle:
    empty = np.empty(0, np.uint8)
    owner = {"string_to_class": np.eye(14, dtype=np.float32)}
    return Bundle("x", {}, owner | inputs, empty, empty)


def test_truth_asks_about_second_frames_only_where_it_is_close() -> None:
    engine = Knowing()
    words = load_vocabulary("world")
    truth = Truth(engine, range(700, 702), Shift(), words)  # type: ignore[arg-type]
    assert not any(np.array_equal(a[0], b[0]) for a, b in zip(*truth.halves, strict=True))
    for half in truth.halves:
        engine.truth |= {f.tobytes(): np.where(t == 255, 0, t) for f, t in half}
    right, road = bundle_that(), bundle_that(always=np.array(0))
    told = truth.gains(right, {"base": road})["base"]
    assert told["gain"] > CLEAR
    assert told["frames"] == 2
    assert engine.asked == 4
    same = truth.gains(road, {"base": road})["base"]
    assert (same["gain"], same["frames"]) == (0.0, 4)


def test_probation_of_a_collapse() -> None:
    engine, rng = Knowing(), np.random.default_rng(1)
    seen = [rng.integers(0, 256, (8, 8, 3), np.uint8) for _ in range(40)]
    engine.truth = {frame.tobytes(): rng.integers(0, 14, (8, 8)) for frame in seen}
    right, one = bundle_that(), bundle_that(always=np.array(3))
    config = ProbationConfig(min_frames=10)
    found = probation(engine, right, one, seen, seen[:0], config)  # type: ignore[arg-type]
    assert found["rolled_back"]
    assert found["after_frames"] == 10
    told = probation(engine, right, one, seen, seen[:4], config)  # type: ignore[arg-type]
    assert not told["rolled_back"]  # just what the gate saw and passed
    fine = probation(engine, right, right, seen, seen[:4], config)  # type: ignore[arg-type]
    assert not fine["rolled_back"]
    assert fine["after_frames"] == 20


def test_results_hold_what_is_asked_for_and_make_a_picture(tmp_path: Path) -> None:
    rows = [row(2.0, True, 1.8, judge_s=2.0), row(-20.0, False, -30.0, judge_s=2.1),
            row(None, False, None, kind="broken", judge_s=None)]  # fmt: skip
    results = gate.results_of(rows, Config(), gate.cells(0, dev=False, quick=True))
    assert results["summary"].items() >= {
        "harmful": 2, "harmful_accepted": 0, "helpful": 1, "helpful_accepted": 1,
    }.items()  # fmt: skip
    assert json.loads(json.dumps(results, allow_nan=False))["judge_s"] == [2.0, 2.1]
    picture(results, tmp_path / "gate.png")
    assert (tmp_path / "gate.png").stat().st_size > 10_000
    assert "broken" in gate.table(results)
