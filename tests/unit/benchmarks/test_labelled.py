"""A teacher that knows: its labels are the truth, and where there is none nothing is learned."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.configs.adapt import preset
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.model.colour import colour_of
from acclimate.world import Drive, Shift
from benchmarks.labelled import learn_pairs
from benchmarks.ungated import Learned
from tests.unit.benchmarks.test_ungated import moved

WORDS = load_vocabulary("world")


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    drive = Drive(3)
    return [np.ascontiguousarray(drive.frame(20 * i, Shift("night", 0.5))[0]) for i in range(2)]


def taught(frames: list[np.ndarray], label: int) -> tuple[Learned, list[str]]:
    way = Learned("default", WORDS, preset("continual", max_class_share=1.0, min_entropy=0.0), 1)
    before = way.bundle("x")
    learn_pairs(way, frames, [np.full(frames[0].shape[:2], label, np.uint8)] * 2, 1)
    return way, moved(before, way.bundle("x"))


def test_the_truth_moves_it_in_the_colours_that_serve(frames: list[np.ndarray]) -> None:
    way, changed = taught(frames, 1)
    assert "text" in changed
    wanted = colour_of(way.base.daylight, preset("continual").colour)
    assert np.array_equal(way.bundle("x").inputs["colour"], wanted)


def test_nothing_is_learned_where_nothing_is_known(frames: list[np.ndarray]) -> None:
    assert set(taught(frames, 255)[1]) <= {"colour"}
