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


def test_levels_are_as_frequent_as_the_streams_and_their_order_the_scenes(pair: list[Any]) -> None:
    scenes, like = (one[None] for one in pair)
    worn = dressed(scenes, like)
    for channel in range(3):
        before, after = scenes[..., channel].ravel(), worn[..., channel].ravel()
        assert (np.diff(after[np.argsort(before, kind="stable")].astype(int)) >= 0).all()
        quantiles = [np.quantile(x[..., channel], np.linspace(0, 1, 21)) for x in (worn, like)]
        assert np.abs(quantiles[0] - quantiles[1]).max() <= 4


def test_in_its_own_look_it_is_itself(pair: list[Any]) -> None:
    both = np.stack(pair)
    assert np.array_equal(dressed(both, both), both)
    assert np.array_equal(dressed(both, both[:, ::-1]), both)


def test_one_curve_for_all_scenes(pair: list[Any]) -> None:
    """A dark scene among bright ones stays the dark one."""
    both = np.stack(pair)
    worn = dressed(both, both // 2)
    assert np.abs(worn.astype(float) - both / 2).max() <= 1


def test_scenes_with_labels_in_the_stream_s_size(pair: list[Any]) -> None:
    words = load_served("world")
    lesson = dressed_lesson(words, True, [pair[1]])
    assert lesson is not None
    assert lesson.colour is None
    assert lesson.frames.shape == (len(SEEDS), 40, 56, 3)
    assert lesson.labels.shape == lesson.frames.shape[:3]
    assert set(np.unique(lesson.labels)) <= {*range(len(words.names)), 255}
    assert abs(int(lesson.frames.max()) - int(pair[1].max())) <= 1


def test_nothing_without_labels_that_mean_something(pair: list[Any]) -> None:
    assert dressed_lesson(load_served("world"), False, pair) is None
    assert dressed_lesson(parse_classes("zebra,piano"), True, pair) is None
