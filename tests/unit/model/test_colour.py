"""Colours of a stream: what is moved, how far, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acclimate.model.colour import (
    MOST_FACTOR,
    MOST_MOVED,
    UNCHANGED,
    Daylight,
    both_looks,
    daylight_of,
    recolour,
    recolour_frame,
    towards_daylight,
)
from acclimate.model.load import load_base
from acclimate.world import Drive, Shift

DAY = Daylight(
    np.array([[112, 114, 114], [124, 129, 133]], np.float32),
    np.array([[43, 42, 52], [49, 50, 60]], np.float32),
)


def noise(mean: float, spread: float) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = rng.normal(mean, spread, (2, 80, 112, 3))
    return list(found.clip(0, 255).astype(np.uint8))


def test_colours_within_those_of_daylight_stay() -> None:
    mean, spread = DAY.mean.mean(0), DAY.spread.mean(0)
    rng = np.random.default_rng(0)
    frames = (rng.normal(0, 1, (2, 80, 112, 3)) * spread + mean).clip(0, 255).astype(np.uint8)
    np.testing.assert_allclose(towards_daylight(list(frames), DAY, 1.0), UNCHANGED, atol=1e-4)


@pytest.mark.parametrize(("mean", "spread"), [(60, 30), (170, 40), (160, 33), (118, 30)])
def test_the_whole_way_ends_in_daylight(mean: float, spread: float) -> None:
    frames = noise(mean, spread)
    colour = towards_daylight(frames, DAY, 1.0)
    moved = np.stack(frames) * colour[0] + colour[1]
    found, wide = moved.mean((0, 1, 2)), moved.std((1, 2)).mean(0)
    assert ((found >= DAY.mean[0] - 0.1) & (found <= DAY.mean[1] + 0.1)).all()
    assert ((wide >= DAY.spread[0] - 0.1) & (wide <= DAY.spread[1] + 0.1)).all()


def test_part_of_the_way_is_part_of_the_change() -> None:
    frames = noise(60, 20)
    whole = towards_daylight(frames, DAY, 1.0)
    np.testing.assert_array_equal(towards_daylight(frames, DAY, 0.0), UNCHANGED)
    halfway = towards_daylight(frames, DAY, 0.5)
    np.testing.assert_allclose(halfway, (whole + UNCHANGED) / 2, atol=1e-4)


@pytest.mark.parametrize("value", [0, 3, 255])
def test_a_covered_lens_is_not_blown_up(value: int) -> None:
    factor, offset = towards_daylight([np.full((4, 4, 3), value, np.uint8)], DAY, 1.0)
    assert (factor <= MOST_FACTOR).all()
    assert (np.abs(value * factor + offset - value) <= MOST_MOVED + 1e-3).all()


def test_a_base_that_knows_no_daylight_changes_nothing() -> None:
    np.testing.assert_array_equal(towards_daylight(noise(20, 5), None, 1.0), UNCHANGED)


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


def test_dusk_and_fog_come_nearer_to_day() -> None:
    for shift in (Shift("night", 0.45), Shift("fog", 0.6)):
        frames = [np.ascontiguousarray(Drive(s).frame(30, shift)[0]) for s in (4, 5)]
        day = np.stack([Drive(s).frame(30)[0] for s in (4, 5)]).mean()
        seen = np.stack([recolour_frame(f, towards_daylight(frames, DAY, 0.5)) for f in frames])
        assert abs(seen.mean() - day) < abs(np.stack(frames).mean() - day)


def test_both_looks_come_by_turns() -> None:
    frames, colour = 2 * noise(90, 30), np.array([[1.5] * 3, [-20] * 3], np.float32)
    seen = both_looks(frames, colour)
    assert len(seen) == len(frames) > 2
    for i, (one, frame) in enumerate(zip(seen, frames, strict=True)):
        np.testing.assert_array_equal(one, recolour_frame(frame, colour) if i % 2 else frame)


def test_a_frame_and_a_tensor_agree() -> None:
    frame = noise(90, 30)[0]
    colour = np.array([[1.5, 0.8, 1], [-20, 10, 90]], np.float32)
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    found = recolour(image, torch.from_numpy(colour))[0].permute(1, 2, 0).numpy()
    assert np.abs(found - recolour_frame(frame, colour)).max() <= 0.5
    assert found.min() >= 0
    assert found.max() <= 255
