"""Labelled scenes of the source in the look of a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from acclimate.adapt.gate.dressed import SEEDS, dressed, dressed_lesson
from acclimate.configs.vocabulary import load_served, parse_classes


@pytest.fixture
def pair() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(low, low + 90, (40, 56, 3), np.uint8) for low in (120, 5)]


def test_values_are_those_of_the_stream_and_their_order_the_scenes(pair: list[Any]) -> None:
    scene, like = pair
    worn = dressed(scene, like)
    for channel in range(3):
        before, after = scene[..., channel].ravel(), worn[..., channel].ravel()
        assert np.array_equal(np.sort(after), np.sort(like[..., channel], axis=None))
        assert (np.diff(after[np.argsort(before, kind="stable")].astype(int)) >= 0).all()


def test_in_its_own_look_it_is_itself(pair: list[Any]) -> None:
    assert np.array_equal(dressed(pair[0], pair[0]), pair[0])


def test_scenes_with_labels_in_the_stream_s_size(pair: list[Any]) -> None:
    words = load_served("world")
    lesson = dressed_lesson(words, True, [pair[1]])
    assert lesson is not None
    assert lesson.colour is None
    assert lesson.frames.shape == (len(SEEDS), 40, 56, 3)
    assert lesson.labels.shape == lesson.frames.shape[:3]
    assert set(np.unique(lesson.labels)) <= {*range(len(words.names)), 255}
    assert lesson.frames.max() == pair[1].max()


def test_nothing_without_labels_that_mean_something(pair: list[Any]) -> None:
    assert dressed_lesson(load_served("world"), False, pair) is None
    assert dressed_lesson(parse_classes("zebra,piano"), True, pair) is None
