"""Shifts change the look and nothing else."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from acclimate.world import SOURCE_NAMES, Drive, Shift
from acclimate.world.shift import KINDS

SHIFTS = tuple(kind for kind in KINDS if kind != "none")


@pytest.fixture(scope="module")
def drive() -> Drive:
    return Drive(3, hood=True)


def look(drive: Drive, kind: str, strength: float, index: int = 12) -> NDArray[np.float64]:
    return drive.frame(index, Shift(kind, strength))[0].astype(np.float64)


@pytest.mark.parametrize("kind", SHIFTS)
def test_labels_do_not_depend_on_the_shift(drive: Drive, kind: str) -> None:
    labels = drive.frame(12, Shift(kind, 0.9))[1]
    np.testing.assert_array_equal(labels, drive.frame(12)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_strength_zero_is_the_clean_image(drive: Drive, kind: str) -> None:
    np.testing.assert_array_equal(look(drive, kind, 0.0), drive.frame(12)[0])


@pytest.mark.parametrize("kind", SHIFTS)
def test_shifted_frames_are_reproducible(drive: Drive, kind: str) -> None:
    again = Drive(3, hood=True)
    np.testing.assert_array_equal(look(drive, kind, 0.6), look(again, kind, 0.6))


@pytest.mark.parametrize("kind", SHIFTS)
def test_the_look_follows_the_strength_without_jumps(drive: Drive, kind: str) -> None:
    steps = [look(drive, kind, s) for s in np.linspace(0.0, 1.0, 41)]
    jumps = [np.abs(a - b).mean() for a, b in pairwise(steps)]
    assert max(jumps) < 9.0
    assert np.abs(steps[-1] - steps[0]).mean() > 12.0


def test_night_falls_by_way_of_dusk(drive: Drive) -> None:
    frames = (0, 12, 24)
    day, dusk, night = (
        np.mean([look(drive, "night", s, i).mean() for i in frames]) for s in (0.0, 0.45, 0.95)
    )
    assert day > dusk + 30.0
    assert dusk > night + 12.0
    assert 18.0 < night < 45.0


def test_dusk_is_warm_and_night_is_not(drive: Drive) -> None:
    def warmth(strength: float) -> float:
        red, _, blue = look(drive, "night", strength).mean(axis=(0, 1))
        return float(red / blue)

    assert warmth(0.45) > warmth(0.0)
    assert warmth(0.45) > warmth(0.95)


def test_headlights_reach_the_road_ahead(drive: Drive) -> None:
    labels = drive.frame(12)[1]
    road = labels == SOURCE_NAMES.index("road")
    middle = np.zeros_like(road)
    middle[90:130, 90:134] = True
    image = look(drive, "night", 0.95).mean(axis=2)
    far_side = np.zeros_like(road)
    far_side[90:140, :40] = True
    assert image[road & middle].mean() > 1.5 * image[road & far_side].mean()


def test_fog_hides_the_distance_first(drive: Drive) -> None:
    view = drive.view(12)
    change = np.abs(look(drive, "fog", 0.6) - look(drive, "none", 0.0)).mean(axis=2)
    contrast = [
        look(drive, "fog", 0.6)[mask].std() / look(drive, "none", 0.0)[mask].std()
        for mask in (view.depth > 50.0, view.depth < 8.0)
    ]
    assert contrast[0] < 0.6 * contrast[1]
    assert change.max() > 30.0


def test_the_cast_belongs_to_the_drive() -> None:
    def gain(seed: int, index: int) -> NDArray[np.float64]:
        drive = Drive(seed)
        cast, clean = look(drive, "cast", 0.3, index), look(drive, "none", 0.0, index)
        return np.asarray(cast.mean(axis=(0, 1)) / clean.mean(axis=(0, 1)))

    gains = [gain(1, 0), gain(1, 9), gain(2, 0)]
    assert np.abs(gains[0] - gains[1]).max() < 0.1
    assert np.abs(gains[0] - gains[2]).max() > 0.1


@pytest.mark.parametrize(
    ("kind", "strength"), [("snow", 0.5), ("fog", -0.1), ("fog", 1.1), ("fog", float("nan"))]
)
def test_impossible_shifts_are_refused(kind: str, strength: float) -> None:
    with pytest.raises(ValueError, match="shift"):
        Shift(kind, strength)
