"""Who competes, and that nobody does so twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.adapt.gate.champions import (
    Champion,
    champions,
    earlier,
    elsewhere,
    in_colours,
    nearest,
)
from acclimate.adapt.gate.contest import BASE, SERVING
from acclimate.configs.gate import GateConfig
from acclimate.configs.schema import Config
from acclimate.model.colour import Daylight, colour_of
from acclimate.runtime.engine import EngineInfo
from tests.unit.adapt.gate.conftest import contender

DAYLIGHT = Daylight(np.full((2, 3), 110, "f4"), np.full((2, 3), 50, "f4"))
HERE = np.array([1.0, 0.0])


def champion(name: str, kind: str = "adapter", at: Any = None, **inputs: Any) -> Champion:
    made = {"id": name, "kind": kind, "condition": at and {"mean": at[0], "spread": at[1]}}
    return Champion(replace(contender(name, **inputs), manifest=made), Path(name))


GOOD = [
    champion("base", "base", error=0.3), champion("a1", at=([0, 1], 1.0), error=0.2),
    champion("a2", at=([1, 0.1], 1.0), error=0.1), champion("a3", error=0.05),
]  # fmt: skip


def test_all_that_is_free_competes() -> None:
    found = champions(Config(), GOOD[1], GOOD, DAYLIGHT, HERE)
    assert list(found) == [
        SERVING, BASE, "a2", "base, lifted", "base, half", "base, whole", "a1, lifted",
    ]  # fmt: skip
    moved = found["base, whole"].bundle.inputs
    assert np.array_equal(moved["colour"], colour_of(DAYLIGHT, "whole"))
    assert moved["error"] is GOOD[0].bundle.inputs["error"]


def test_the_base_that_serves_competes_once() -> None:
    few = replace(Config(), gate=GateConfig(normalise=("half", "lifted")))
    found = champions(few, GOOD[0], GOOD[:1], DAYLIGHT, HERE)
    assert list(found) == [SERVING, "base, lifted", "base, half"]


def test_a_base_that_knows_no_daylight_is_not_recoloured() -> None:
    assert list(champions(Config(), GOOD[0], GOOD[:1], None, HERE)) == [SERVING]


def test_who_wants_no_colours_gets_none() -> None:
    plain = replace(Config(), adapt=replace(Config().adapt, colour="plain"))
    assert list(champions(plain, GOOD[0], GOOD[:1], DAYLIGHT, HERE)) == [SERVING]


def test_without_a_base_what_serves_takes_its_place() -> None:
    found = champions(Config(), GOOD[1], [], DAYLIGHT, HERE)
    assert next(iter(found)) == SERVING
    assert BASE not in found


def test_nearest_goes_by_condition() -> None:
    assert [one.bundle.id for one in nearest(GOOD, HERE)] == ["a2", "a1"]


def test_only_another_condition_is_remembered() -> None:
    """a2's is the stream's own; where nobody knows, it may be another."""
    assert [one.bundle.id for one in elsewhere(GOOD, HERE)] == ["base", "a1", "a3"]
    assert [one.bundle.id for one in elsewhere(GOOD, 9 * HERE)] == ["base", "a1", "a2", "a3"]


def test_other_colours_change_nothing_else() -> None:
    colour = np.ones((7, 3), np.float32)
    one = in_colours(GOOD[1], colour)
    assert one.folder == GOOD[1].folder
    assert one.bundle.inputs["colour"] is colour
    assert "colour" in GOOD[1].bundle.inputs
    assert GOOD[1].bundle.inputs["colour"] is not colour


def test_a_bundle_that_does_not_load_stays_out(prepared: Path, tmp_path: Path) -> None:
    info = EngineInfo.load(prepared / "engine")
    base = prepared / "adapters" / "base"
    digest = earlier([base], info, "")
    assert digest == []  # other words
    import json

    words = json.loads((base / "manifest.json").read_text())["vocabulary_digest"]
    found = earlier([tmp_path / "gone", base], info, words)
    assert [one.bundle.id for one in found] == ["base"]
