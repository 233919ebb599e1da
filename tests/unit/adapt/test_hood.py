"""What never moves is found where there is a bonnet, and nothing where there is none."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from acclimate.adapt.hood import MIN_FRAMES, Hoods, hood_mask, still_bonnet, valid_pixels
from acclimate.configs.adapt import AdaptConfig
from acclimate.configs.schema import Config
from acclimate.configs.source import SourceConfig
from acclimate.errors import ConfigError
from acclimate.world import Drive, Shift

Frame = NDArray[np.uint8]
SHIFTS = {"day": Shift(), "rain": Shift("rain", 0.8), "noise": Shift("noise", 0.7)}
LOWER_HALF = ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0))


@cache
def drive(seed: int, hood: bool, shift: str) -> tuple[list[Frame], NDArray[np.bool_]]:
    """16 frames of a drive, and where its bonnet is."""
    made = Drive(seed, hood=hood)
    frames = [made.frame(9 * i, SHIFTS[shift]) for i in range(16)]
    return [frame for frame, _ in frames], frames[0][1] == 255


@pytest.mark.parametrize("shift", list(SHIFTS))
@pytest.mark.parametrize("seed", [31, 32])
def test_a_bonnet_is_found_and_little_else(seed: int, shift: str) -> None:
    frames, bonnet = drive(seed, True, shift)
    found = still_bonnet(frames)
    assert found[bonnet].mean() > 0.7
    assert found[~bonnet].mean() < 0.04


@pytest.mark.parametrize("shift", list(SHIFTS))
@pytest.mark.parametrize("seed", [31, 32])
def test_without_a_bonnet_nothing_is_found(seed: int, shift: str) -> None:
    assert not still_bonnet(drive(seed, False, shift)[0]).any()


def test_a_painted_bonnet_is_found() -> None:
    """A flat grey trapeze with a camera's noise, over a drive that has none."""
    frames, _ = drive(31, False, "day")
    height, width = frames[0].shape[:2]
    corners = np.array([(0, 1), (0.15, 0.85), (0.85, 0.85), (1, 1)]) * (width, height)
    painted = np.zeros((height, width), np.uint8)
    cv2.fillPoly(painted, [corners.round().astype(np.int32)], (1,))
    noise = np.random.default_rng(1).normal(60, 3, (len(frames), *frames[0].shape))
    covered = [
        np.where(painted[:, :, None] > 0, n, f).clip(0, 255).astype(np.uint8)
        for f, n in zip(frames, noise, strict=True)
    ]
    found = still_bonnet(covered)
    assert found[painted > 0].mean() > 0.8
    assert found[painted == 0].mean() < 0.02


def test_nothing_is_found_while_parked() -> None:
    frames, _ = drive(31, True, "day")
    parked = [frames[0]] * 16
    assert not still_bonnet(parked).any()
    noise = np.random.default_rng(2).normal(0, 4, (16, *frames[0].shape))
    flicker = [(frames[0] + n).clip(0, 255).astype(np.uint8) for n in noise]
    assert not still_bonnet(flicker).any()


def test_too_few_frames_say_nothing() -> None:
    frames, _ = drive(31, True, "day")
    assert not still_bonnet(frames[: MIN_FRAMES - 1]).any()
    assert still_bonnet(frames[:MIN_FRAMES]).any()


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("size", [(64, 64), (33, 50), (8, 8)])
def test_covered_lenses_and_tiny_frames_say_nothing(value: int, size: tuple[int, int]) -> None:
    assert not still_bonnet([np.full((*size, 3), value, np.uint8)] * 20).any()


def test_polygons_and_stillness_add_up() -> None:
    frames, _ = drive(31, True, "day")
    top = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.1), (0.0, 0.1))
    keys: dict[str, Any] = {"hood": (top,)}
    drawn = valid_pixels(AdaptConfig(**keys), frames)[0].numpy()
    both = valid_pixels(AdaptConfig(**keys, hood_auto=True), frames)[0].numpy()
    assert not drawn[:10].any() and drawn[20:].all()
    assert not both[:10].any()
    assert np.array_equal(both, drawn & ~still_bonnet(frames))
    assert not np.array_equal(both, drawn)


def test_the_mask_is_where_the_polygon_is() -> None:
    mask = hood_mask(AdaptConfig(hood=(LOWER_HALF,)), (20, 30))
    assert mask.shape == (1, 20, 30)
    assert mask[0, :9].all() and not mask[0, 11:].any()


def test_a_hood_over_everything_is_told() -> None:
    frames, _ = drive(31, False, "day")
    upper = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.6), (0.0, 0.6))
    with pytest.raises(ConfigError, match=r"adapt\.hood"):
        valid_pixels(AdaptConfig(hood=(LOWER_HALF, upper)), frames)


def test_each_camera_has_its_own_bonnet() -> None:
    """One sees the bonnet, one sees none, and of one a visor was drawn."""
    with_bonnet, bonnet = drive(31, True, "day")
    without, _ = drive(32, False, "day")
    visor = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.2), (0.0, 0.2))
    cameras = {"front": SourceConfig(), "left": SourceConfig(), "rear": SourceConfig(hood=(visor,))}
    config = Config(cameras=cameras, adapt=AdaptConfig(hood_auto=True))
    names = [name for _ in with_bonnet for name in ("front", "left", "rear")]
    seen = [frame for pair in zip(with_bonnet, without, strict=True) for frame in (*pair, pair[1])]
    front, left, rear = Hoods(config, names, seen).over(["front", "left", "rear"])
    assert np.array_equal(front, ~still_bonnet(with_bonnet)) and not front[bonnet].all()
    assert left.all()
    assert not rear[: len(rear) // 6].any() and rear[len(rear) // 4 :].all()


def test_one_source_has_one_bonnet_whatever_it_was_called() -> None:
    """Entries of an earlier version have no name; a source may have got another one since."""
    frames, bonnet = drive(31, True, "day")
    config = Config(adapt=AdaptConfig(hood_auto=True))
    names = ["", "camera"] * (len(frames) // 2)
    both = Hoods(config, names, frames).over(["", "camera", "front"])
    assert len(frames) // 2 < MIN_FRAMES
    assert all(np.array_equal(one, ~still_bonnet(frames)) for one in both)
    assert not both[0][bonnet].all()


def test_a_hood_over_everything_is_told_with_its_camera() -> None:
    frames, _ = drive(31, False, "day")
    whole = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    config = Config(cameras={"front": SourceConfig(), "rear": SourceConfig(hood=(whole,))})
    with pytest.raises(ConfigError, match="'rear'"):
        Hoods(config, ["front", "rear"], frames[:2])
