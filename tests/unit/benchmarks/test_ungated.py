"""Rows without a gate: they begin as the base, move, and what diverges is undone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from acclimate.adapt.lora import lora_tensors
from acclimate.configs.adapt import preset
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.errors import Diverged
from acclimate.export.main import base_inputs
from acclimate.model.colour import colour_of
from acclimate.model.load import load_base
from acclimate.world import Drive, Shift
from benchmarks import ungated
from benchmarks.ungated import BLOCKS, UNGATED, Learned

WORDS = load_vocabulary("world")


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    drive = Drive(3)
    return [drive.frame(20 * i, Shift("night", 0.5))[0] for i in range(2)]


def moved(before: Any, after: Any) -> list[str]:
    a, b = before.inputs, after.inputs
    assert a.keys() == b.keys()
    return [name for name in a if not np.array_equal(a[name], b[name])]


def test_it_begins_as_the_base() -> None:
    way = Learned("default", WORDS, UNGATED["entropy"], 1)
    wanted, begun = base_inputs(load_base(), WORDS, BLOCKS), way.bundle("x").inputs
    assert begun.keys() == wanted.keys()
    for name, value in wanted.items():
        assert np.allclose(begun[name], value, atol=1e-6), name


def test_a_round_moves_it_in_the_streams_own_colours(frames: list[np.ndarray]) -> None:
    way = Learned("default", WORDS, UNGATED["entropy"], 1)
    before = way.bundle("x")
    told = way.learn(frames, 1)
    assert told["steps"] == 1 and told["distance"] > 0
    changed = moved(before, way.bundle("x"))
    assert "text" in changed and "colour" not in changed and "string_to_class" not in changed


def test_continual_moves_colours_too(frames: list[np.ndarray]) -> None:
    way = Learned("default", WORDS, UNGATED["vocalign_continual"], 1)
    way.learn(frames, 1)
    wanted = colour_of(load_base().daylight, preset("continual").colour)
    assert np.array_equal(way.bundle("x").inputs["colour"], wanted)


def test_the_next_round_goes_on(frames: list[np.ndarray]) -> None:
    way = Learned("default", WORDS, UNGATED["entropy"], 1)
    way.learn(frames, 1)
    once = way.bundle("x")
    way.learn(frames, 2)
    assert way.age == 2 and "text" in moved(once, way.bundle("x"))


def test_what_diverges_is_undone(
    frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    way = Learned("default", WORDS, UNGATED["vocalign_continual"], 1)
    way.learn(frames, 1)
    before = way.bundle("x")

    def explode(model: Any, *rest: Any) -> None:
        for value in lora_tensors(model).values():
            value.data.fill_(float("nan"))
        raise Diverged("gone")

    monkeypatch.setattr(ungated, "train_round", explode)
    told = way.learn(frames, 2)
    assert told["error"] == "gone"
    assert moved(before, way.bundle("x")) == []


def test_baselines_have_no_watch_over_them_and_presets_their_own_settings() -> None:
    for name in ("entropy", "teacher_student", "masking", "rdumb"):
        way = UNGATED[name]
        assert (way.strategy, way.colour, way.max_class_share, way.min_entropy) == (
            name,
            "plain",
            1,
            0,
        )
    for name in ("paper", "released", "continual"):
        assert UNGATED[f"vocalign_{name}"] == preset(name, replay=0)
    assert max(way.blocks for way in UNGATED.values()) == BLOCKS
