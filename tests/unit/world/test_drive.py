"""Drives: reproducible, coherent in time, complete in classes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from acclimate.world import IGNORE, SOURCE_NAMES, Drive

Frame = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@cache
def stretch(seed: int) -> tuple[Frame, ...]:
    """Forty frames of a drive."""
    drive = Drive(seed)
    return tuple(drive.frame(i) for i in range(40))


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())


def test_the_class_names_are_the_agreed_sixteen() -> None:
    assert len(SOURCE_NAMES) == len(set(SOURCE_NAMES)) == 16
    assert SOURCE_NAMES[0] == "road"
    assert SOURCE_NAMES[-1] == "cyclist"


def test_frames_are_rgb_bytes_with_a_class_in_every_pixel() -> None:
    image, labels = stretch(0)[0]
    assert image.shape == (160, 224, 3)
    assert labels.shape == (160, 224)
    assert image.dtype == labels.dtype == np.uint8
    assert labels.max() < len(SOURCE_NAMES)


@pytest.mark.parametrize("index", [0, 7, 39])
def test_any_index_can_be_rendered_directly(index: int) -> None:
    image, labels = Drive(3).frame(index)
    expected_image, expected_labels = stretch(3)[index]
    np.testing.assert_array_equal(image, expected_image)
    np.testing.assert_array_equal(labels, expected_labels)


def test_far_along_the_drive_is_as_rich_as_its_start() -> None:
    _, labels = Drive(3).frame(100_000)
    assert len(np.unique(labels)) > 6


def test_seeds_are_different_places() -> None:
    assert difference(Drive(1).frame(0)[0], Drive(2).frame(0)[0]) > 20.0


def test_consecutive_frames_belong_together() -> None:
    within = [difference(stretch(3)[i][0], stretch(3)[i + 1][0]) for i in range(0, 38, 4)]
    between = [difference(stretch(3)[i][0], stretch(4)[i][0]) for i in range(0, 38, 4)]
    assert np.mean(within) < 0.5 * np.mean(between)


def test_labels_change_little_from_frame_to_frame() -> None:
    agreement = [
        np.mean(stretch(seed)[i][1] == stretch(seed)[i + 1][1])
        for seed in (3, 4)
        for i in range(0, 38, 4)
    ]
    assert np.mean(agreement) > 0.85
    assert min(agreement) > 0.7


def test_every_class_appears_in_most_drives() -> None:
    seen = np.zeros((8, len(SOURCE_NAMES)))
    for seed in range(8):
        drive = Drive(seed)
        for index in range(0, 40, 4):
            counts = np.bincount(drive.frame(index)[1].ravel(), minlength=len(SOURCE_NAMES))
            seen[seed] = np.maximum(seen[seed], counts >= 30)
    rare = [n for n, share in zip(SOURCE_NAMES, seen.mean(axis=0), strict=True) if share < 0.6]
    assert rare == []


def test_small_things_come_near_enough_to_be_read() -> None:
    largest = np.max(
        [
            np.bincount(labels.ravel(), minlength=16)
            for seed in (0, 3, 4)
            for _, labels in stretch(seed)
        ],
        axis=0,
    )
    for name, pixels in {
        "traffic sign": 100,
        "traffic light": 80,
        "person": 250,
        "pole": 250,
        "cyclist": 250,
    }.items():
        assert largest[SOURCE_NAMES.index(name)] > pixels, name


def test_the_hood_is_void_and_hides_nothing_else() -> None:
    image, labels = Drive(5, hood=True).frame(4)
    plain_image, plain_labels = Drive(5).frame(4)
    hood = labels == IGNORE
    assert 0.08 < hood.mean() < 0.16
    assert not hood[: int(0.8 * len(hood))].any()
    np.testing.assert_array_equal(labels[~hood], plain_labels[~hood])
    np.testing.assert_array_equal(image[~hood], plain_image[~hood])
    assert image[hood].mean() < 90


@pytest.mark.parametrize("size", [(96, 128), (120, 300), (256, 160)])
def test_other_sizes_show_the_same_kind_of_scene(size: tuple[int, int]) -> None:
    image, labels = Drive(2, size=size, hood=True).frame(3)
    assert image.shape == (*size, 3)
    assert labels.shape == size
    names = {SOURCE_NAMES[i] for i in np.unique(labels) if i != IGNORE}
    assert {"road", "sky", "pavement"} <= names
    assert labels[0, size[1] // 2] != SOURCE_NAMES.index("road")


def test_time_not_index_moves_the_camera() -> None:
    slow, fast = Drive(6, fps=5.0), Drive(6, fps=10.0)
    np.testing.assert_array_equal(slow.frame(3)[0], fast.frame(6)[0])
