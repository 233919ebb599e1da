"""Colours of a stream: what is moved, how far, and what is left alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from acclimate.configs.adapt import Colour
from acclimate.model.colour import (
    BLUR,
    FADING,
    LEAST_GAMMA,
    MOST_FACTOR,
    MOST_MOVED,
    SHARES,
    UNCHANGED,
    Daylight,
    both_looks,
    colour_of,
    daylight_of,
    recolour,
    recolour_frame,
)
from acclimate.model.load import load_base
from acclimate.world import Drive, Shift

DAY = Daylight(
    np.array([[112, 114, 114], [124, 129, 133]], np.float32),
    np.array([[43, 42, 52], [49, 50, 60]], np.float32),
)

COLOURS = tuple(SHARES)


def noise(mean: float, spread: float) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = rng.normal(mean, spread, (2, 80, 112, 3))
    return list(found.clip(0, 255).astype(np.uint8))


def shown(frames: list[np.ndarray], name: Colour) -> np.ndarray:
    return shown_in(colour_of(DAY, name), frames)


def shown_in(colour: np.ndarray, frames: list[np.ndarray]) -> np.ndarray:
    return np.stack([recolour_frame(frame, colour) for frame in frames])


LIFTED = colour_of(DAY, "lifted")
LIFTED[4] = 0  # by gamma and blur alone
BLURRED = UNCHANGED.copy()
BLURRED[6] = 1


@pytest.mark.parametrize("name", ["half", "whole"])
def test_colours_within_those_of_daylight_stay(name: Colour) -> None:
    mean, spread = DAY.mean.mean(0), DAY.spread.mean(0)
    rng = np.random.default_rng(0)
    frames = (rng.normal(0, 1, (2, 80, 112, 3)) * spread + mean).clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(shown(list(frames), name), frames)


@pytest.mark.parametrize(("mean", "spread"), [(60, 30), (170, 40), (160, 28), (118, 28)])
def test_the_whole_way_ends_in_daylight(mean: float, spread: float) -> None:
    moved = shown(noise(mean, spread), "whole")
    found, wide = moved.mean((0, 1, 2)), moved.std((1, 2)).mean(0)
    assert ((found >= DAY.mean[0] - 0.5) & (found <= DAY.mean[1] + 0.5)).all()
    assert ((wide >= DAY.spread[0] - 2) & (wide <= DAY.spread[1] + 0.5)).all()


def test_half_of_the_way_is_half_of_the_change() -> None:
    frames = noise(100, 25)
    halfway = (shown(frames, "whole") + np.stack(frames).astype(float)) / 2
    assert np.quantile(np.abs(shown(frames, "half") - halfway), 0.99) <= 1


def test_each_frame_is_measured_by_itself() -> None:
    """A camera that comes out of a tunnel: what is seen follows at once."""
    dark, bright = noise(50, 30)[0], noise(160, 30)[0]
    image = torch.from_numpy(np.stack([dark, bright])).permute(0, 3, 1, 2).float()
    both = recolour(image, torch.from_numpy(colour_of(DAY, "lifted")))
    for frame, seen in zip((dark, bright), both, strict=True):
        alone = recolour_frame(frame, colour_of(DAY, "lifted"))
        assert np.abs(seen.permute(1, 2, 0).numpy() - alone).max() <= 0.5


@pytest.mark.parametrize("name", COLOURS)
@pytest.mark.parametrize("value", [0, 3, 255])
def test_a_covered_lens_is_not_blown_up(value: int, name: Colour) -> None:
    """It has nothing to show, in whatever colours."""
    rng = np.random.default_rng(0)
    frame = np.clip(value + rng.integers(-2, 3, (40, 50, 3)), 0, 255).astype(np.uint8)
    seen = recolour_frame(frame, colour_of(DAY, name)).astype(float)
    lifted = 255 * (5 / 255) ** LEAST_GAMMA if "lifted" in name else 0
    assert seen.std((0, 1)).max() <= max(MOST_FACTOR * frame.std((0, 1)).max(), lifted / 2) + 0.5
    assert abs(seen.mean() - frame.mean()) <= MOST_MOVED + lifted + 0.5


def test_a_base_that_knows_no_daylight_changes_nothing() -> None:
    for name in COLOURS:
        np.testing.assert_array_equal(colour_of(None, name), UNCHANGED)
    np.testing.assert_array_equal(colour_of(DAY, "plain"), UNCHANGED)


def test_the_middle_half_of_drives() -> None:
    drives = [[np.full((2, 2, 3), 10 * i, np.uint8)] for i in range(5)]
    found = daylight_of(drives)
    assert found.mean.tolist() == [[10] * 3, [30] * 3]
    assert found.spread.tolist() == [[0] * 3, [0] * 3]


@pytest.mark.parametrize(
    "values", [{}, {"mean": [1, 2]}, {"mean": [[9, 9, 9], [1, 1, 1]], "spread": [[0] * 3] * 2}]
)
def test_no_daylight(values: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError)):
        Daylight.from_dict(values)


def test_it_is_read_as_it_was_written() -> None:
    again = Daylight.from_dict(DAY.to_dict())
    np.testing.assert_array_equal(again.mean, DAY.mean)
    np.testing.assert_array_equal(again.spread, DAY.spread)


def test_the_default_knows_its_daylight() -> None:
    assert load_base().daylight is not None


@pytest.mark.parametrize("name", ["half", "whole", "lifted"])
def test_dusk_and_fog_come_nearer_to_day(name: Colour) -> None:
    for shift in (Shift("night", 0.45), Shift("fog", 0.6)):
        frames = [np.ascontiguousarray(Drive(s).frame(30, shift)[0]) for s in (4, 5)]
        day = np.stack([Drive(s).frame(30)[0] for s in (4, 5)]).std()
        assert abs(shown(frames, name).std() - day) < abs(np.stack(frames).std() - day)


def test_both_looks_come_by_turns() -> None:
    frames, colour = 2 * noise(90, 30), colour_of(DAY, "whole")
    seen = both_looks(frames, colour)
    assert len(seen) == len(frames) > 2
    for i, (one, frame) in enumerate(zip(seen, frames, strict=True)):
        np.testing.assert_array_equal(one, recolour_frame(frame, colour) if i % 2 else frame)


@pytest.mark.parametrize(("mean", "spread"), [(45, 10), (60, 16), (100, 25)])
def test_the_dark_is_lifted_to_the_least_of_daylight(mean: float, spread: float) -> None:
    seen = shown_in(LIFTED, noise(mean, spread))
    assert abs(seen.mean() - DAY.mean[0].mean()) < 4


@pytest.mark.parametrize("name", ["lifted", "gamma alone"])
def test_the_night_is_lifted_no_further_than_its_noise_allows(name: str) -> None:
    """At the least gamma no offset fogs what is left dark, whatever the way is."""
    frame = np.full((4, 4, 3), 12, np.uint8)
    colour = colour_of(DAY, "lifted") if name == "lifted" else LIFTED
    seen = recolour_frame(frame, colour)
    assert seen.mean() == round(255 * (12 / 255) ** LEAST_GAMMA) < DAY.mean[0].mean() - 20


@pytest.mark.parametrize(("over", "share"), [(0, 0.0), (0.25, 0.25), (0.5, 0.5), (1, 1), (2, 1)])
def test_the_way_fades_as_the_gamma_nears_its_least(over: float, share: float) -> None:
    """An image (of one level, a factor does nothing) whose gamma is so many FADING above it: from
    where the gamma takes it, the level 80, the offset goes `share` of the way to 100."""
    gamma = LEAST_GAMMA + over * FADING
    level = 255 * (80 / 255) ** (1 / gamma)
    image = torch.full((1, 3, 4, 4), level)
    colour = torch.from_numpy(UNCHANGED.copy())
    colour[0], colour[4:6] = 80, 1
    colour[0, 0] = 100  # of red alone; the gamma looks at the mean of all three
    colour[0, 1:] = 70
    seen = recolour(image, colour)[0, :, 0, 0]
    assert torch.allclose(seen, torch.tensor([80 + share * 20, 80.0, 80.0]), atol=0.01)


def test_without_a_gamma_the_way_is_whole_in_the_darkest_night() -> None:
    frames = noise(12, 4)
    moved = shown(frames, "whole").mean()
    assert moved > np.stack(frames).mean() + MOST_MOVED - 4


def test_what_is_bright_enough_is_only_blurred() -> None:
    frames = noise(150, 30)
    assert abs(shown_in(LIFTED, frames).mean() - np.stack(frames).mean()) < 0.5


def test_blur_takes_the_noise_and_leaves_the_light() -> None:
    frame = noise(120, 20)[0]
    seen = recolour_frame(frame, BLURRED)
    assert seen.std() < frame.std() / 2
    assert abs(seen.mean() - frame.mean()) < 0.5
    flat = np.full((5, 6, 3), 77, np.uint8)
    np.testing.assert_array_equal(recolour_frame(flat, BLURRED), flat)


def test_a_gaussian_as_opencv_has_it() -> None:
    frame = noise(120, 20)[0]
    expected = cv2.GaussianBlur(
        frame.astype(np.float32), (3, 3), BLUR, borderType=cv2.BORDER_REPLICATE
    )
    assert np.abs(recolour_frame(frame, BLURRED) - expected).max() <= 0.5 + 1e-3


def test_a_gamma_by_hand() -> None:
    """Half of 64 and half of 16 have the mean 40; the least that is known is 80."""
    frame = np.full((2, 2, 3), 64, np.uint8)
    frame[0] = 16
    colour = UNCHANGED.copy()
    colour[0], colour[5] = 80, 1
    gamma = np.log(80 / 255) / np.log(40 / 255)
    wanted = 255 * (np.array([16, 64]) / 255) ** gamma
    np.testing.assert_array_equal(recolour_frame(frame, colour)[:, 0, 0], np.rint(wanted))
    colour[5] = 0.5
    wanted = 255 * (np.array([16, 64]) / 255) ** ((1 + gamma) / 2)
    np.testing.assert_array_equal(recolour_frame(frame, colour)[:, 0, 0], np.rint(wanted))


def test_factor_and_offset_by_hand() -> None:
    """Mean 40 and spread 24; known are 52 and 30 at least: a factor of 1.25, and 12 up."""
    frame = np.full((2, 2, 3), 64, np.uint8)
    frame[0] = 16
    colour = UNCHANGED.copy()
    colour[0], colour[2], colour[4] = 52, 30, 1
    np.testing.assert_array_equal(recolour_frame(frame, colour)[:, 0, 0], [22, 82])


def test_unchanged_are_the_very_same_numbers() -> None:
    image = torch.rand(2, 3, 8, 9) * 255
    image[0, :, 0, 0] = 0
    assert torch.equal(recolour(image, torch.from_numpy(UNCHANGED)), image)


@pytest.mark.parametrize("name", COLOURS)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_one_grey_level_is_a_picture_too(value: int, name: Colour) -> None:
    frame = np.full((4, 5, 3), value, np.uint8)
    seen = recolour_frame(frame, colour_of(DAY, name))
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize("name", COLOURS)
def test_a_frame_and_a_tensor_agree(name: Colour) -> None:
    frame, colour = noise(70, 30)[0], colour_of(DAY, name)
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    found = recolour(image, torch.from_numpy(colour))[0].permute(1, 2, 0).numpy()
    assert np.abs(found - recolour_frame(frame, colour)).max() <= 0.5
    assert found.min() >= 0
    assert found.max() <= 255
