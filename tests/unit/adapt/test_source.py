"""Labelled scenes of the source, and how they look in the light of a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from acclimate.adapt.source import (
    BANDS,
    JUDGED,
    LEARNED,
    dressed,
    dressed_by_height,
    scenes_to_judge_by,
    scenes_to_learn_from,
)
from acclimate.configs.adapt import AdaptConfig
from acclimate.configs.schema import Config, ModelConfig, parse_config
from acclimate.configs.serving import ServingConfig
from acclimate.configs.vocabulary import load_served, parse_classes
from acclimate.errors import SourceError
from acclimate.world import IGNORE
from benchmarks.scenes import DEV, fresh_seeds

Dress = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.uint8]]
DRESSES: tuple[Dress, ...] = (dressed_by_height, dressed)
SIZE, WORLD = (40, 56), load_served("world")


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


@pytest.mark.parametrize("dress", DRESSES)
def test_in_its_own_look_it_is_itself(pair: list[Any], dress: Dress) -> None:
    both = np.stack(pair)
    assert np.array_equal(dress(both, both), both)
    assert np.array_equal(dress(both, both[:, :, ::-1]), both)


def test_whatever_the_height_for_a_judge(pair: list[Any]) -> None:
    both = np.stack(pair)
    assert np.array_equal(dressed(both, both[:, ::-1]), both)


@pytest.mark.parametrize("dress", DRESSES)
def test_one_curve_for_all_scenes(pair: list[Any], dress: Dress) -> None:
    """A dark scene among bright ones stays the dark one."""
    both = np.stack(pair)
    worn = dress(both, both // 2)
    assert np.abs(worn.astype(float) - both / 2).max() <= 1


def test_by_night_the_sky_is_dark() -> None:
    """Brighter above than below by day, and the other way round in the stream: no curve for all
    levels turns that, and those of a lesson do."""
    rows = np.linspace(200, 40, 64).round().astype(np.uint8)
    day = np.tile(rows[:, None, None], (2, 1, 16, 3))
    night = np.ascontiguousarray(day[:, ::-1])
    lesson, judged = (dress(day, night)[0, :, 0, 0].astype(int) for dress in DRESSES)
    assert np.abs(lesson - night[0, :, 0, 0]).max() <= 160 / BANDS
    assert (np.diff(lesson) >= 0).all()
    assert (np.diff(judged) < 0).all()


def test_an_embedded_base_has_the_world(pair: list[Any]) -> None:
    for scenes, seeds in (
        (scenes_to_judge_by(Config(), WORLD, SIZE), JUDGED),
        (scenes_to_learn_from(Config(model=ModelConfig("augmented")), WORLD, SIZE), LEARNED),
    ):
        assert scenes is not None
        assert scenes.frames.shape == (len(seeds), *SIZE, 3)
        assert scenes.labels.shape == scenes.frames.shape[:3]
        named = {WORLD.names[i] for i in np.unique(scenes.labels) if i != IGNORE}
        assert {"road", "sky", "building"} <= named
        worn = scenes.in_light_of([pair[1]])
        assert worn.labels is scenes.labels
        assert abs(int(worn.frames.max()) - int(pair[1].max())) <= 1


def test_no_scene_both_judges_and_teaches_or_reports() -> None:
    assert not set(JUDGED) & {*LEARNED, *DEV, *fresh_seeds(0)}
    assert not set(LEARNED) & {*DEV, *fresh_seeds(0)}


@pytest.mark.parametrize("ask", [scenes_to_judge_by, scenes_to_learn_from])
def test_nothing_without_labels_that_mean_something(ask: Any) -> None:
    assert ask(Config(model=ModelConfig("/srv/mine.safetensors")), WORLD, SIZE) is None
    assert ask(Config(), parse_classes("zebra,piano"), SIZE) is None


def test_nothing_is_drawn_to_learn_from_where_nothing_is_replayed() -> None:
    still = Config(adapt=AdaptConfig(replay=0))
    assert scenes_to_learn_from(still, WORLD, SIZE) is None
    assert scenes_to_judge_by(still, WORLD, SIZE) is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """18 grey pictures, 80 x 60, each level its own; the left half road, the rest unknown."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    labels = np.full((60, 80), 255, np.uint8)
    labels[:, :40] = WORLD.names.index("road")
    for i in range(18):
        grey = np.full((60, 80, 3), 10 * i, np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{i:02d}.png"), grey)
        cv2.imwrite(str(tmp_path / "labels" / f"{i:02d}.png"), labels)
    return tmp_path


def test_any_base_has_a_folder_of_yours(folder: Path) -> None:
    config = Config(model=ModelConfig("mine.safetensors", source_dir=str(folder)))
    judging, teaching = (
        ask(config, WORLD, SIZE) for ask in (scenes_to_judge_by, scenes_to_learn_from)
    )
    assert judging is not None
    assert teaching is not None
    assert judging.frames[:, 0, 0, 0].tolist() == list(range(0, 60, 10))
    assert teaching.frames[:, 0, 0, 0].tolist() == list(range(60, 180, 10))
    assert (teaching.labels[:, :, :28] == WORLD.names.index("road")).all()
    assert (teaching.labels[:, :, 28:] == IGNORE).all()


def test_a_letterboxed_picture_s_border_is_unknown(folder: Path) -> None:
    config = Config(
        model=ModelConfig(source_dir=str(folder)),
        serving=replace(ServingConfig(), fit="letterbox"),
    )
    scenes = scenes_to_judge_by(config, WORLD, (60, 160))
    assert scenes is not None
    assert (scenes.labels[:, :, 40:80] == WORLD.names.index("road")).all()
    assert (scenes.labels[:, :, :40] == IGNORE).all()


def test_a_folder_that_is_none_names_itself(folder: Path) -> None:
    config = Config(model=ModelConfig(source_dir=str(folder)))
    gone = Config(model=ModelConfig(source_dir=str(folder / "gone")))
    with pytest.raises(SourceError, match="gone"):
        scenes_to_learn_from(gone, WORLD, SIZE)
    (folder / "images" / "07.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"07\.png"):
        scenes_to_learn_from(config, WORLD, SIZE)
    (folder / "images" / "07.png").unlink()
    with pytest.raises(SourceError, match=r"has 17 pictures with labels, and at least 18"):
        scenes_to_judge_by(config, WORLD, SIZE)


@pytest.mark.parametrize(("value", "said"), [(255, "is of a class"), (200, r"values \[200\]")])
def test_labels_that_are_none_are_not_judged_by(folder: Path, value: int, said: str) -> None:
    for path in (folder / "labels").iterdir():
        cv2.imwrite(str(path), np.full((60, 80), value, np.uint8))
    config = Config(model=ModelConfig(source_dir=str(folder)))
    for ask in (scenes_to_judge_by, scenes_to_learn_from):
        with pytest.raises(SourceError, match=said):
            ask(config, WORLD, SIZE)


def test_as_a_key_of_the_configuration() -> None:
    assert parse_config({"model": {"source_dir": "/srv/x"}}).model.source_dir == "/srv/x"
