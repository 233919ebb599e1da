"""Labels along optical flow, on pictures whose motion is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from acclimate.adapt.signals.flow import consecutive, temporal_consistency, track

HEIGHT, WIDTH = 96, 128


def texture(seed: int) -> np.ndarray:
    rough = np.random.default_rng(seed).integers(0, 255, (24, 48)).astype(np.uint8)
    grey = cv2.resize(rough, (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.dstack([grey] * 3)


WORLD = texture(0)
PLACES = (np.indices((2 * HEIGHT, 2 * WIDTH))[1] // 8 % 3).astype(np.uint8)


def window(shift: int) -> tuple[np.ndarray, np.ndarray]:
    """A camera that moved `shift` pixels to the right, with its labels."""
    at = (slice(20, 20 + HEIGHT), slice(30 + shift, 30 + shift + WIDTH))
    return np.ascontiguousarray(WORLD[at]), np.ascontiguousarray(PLACES[at])


def test_flow_back_is_the_known_motion() -> None:
    (first, _), (second, _) = window(0), window(5)
    back, seen = track(first, second)
    assert np.median(back[..., 0]) == pytest.approx(5, abs=0.25)
    assert np.median(back[..., 1]) == pytest.approx(0, abs=0.25)
    assert not seen[:, -4:].any()  # it came in from beyond the edge
    assert seen[:, 8:-16].mean() > 0.95


def test_labels_that_move_with_the_picture_are_consistent() -> None:
    (first, labels), (second, later) = window(0), window(5)
    moved = temporal_consistency(first, second, labels, later)
    assert moved is not None
    assert moved > 0.93
    stuck = temporal_consistency(first, second, labels, labels)
    assert stuck is not None
    assert stuck < 0.6  # 5 of every 8 columns are of another class: unwarped they would be alike


def test_what_was_hidden_does_not_count() -> None:
    """A patch in front moves by 8 pixels: what it uncovers has no label to be compared with."""
    scene, patch = window(0)[0], texture(9)[:40, :40]
    frames = []
    for left in (40, 48):
        frame = scene.copy()
        frame[30:70, left : left + 40] = patch
        frames.append(frame)
    seen = track(*frames)[1]
    assert seen[34:66, 41:46].mean() < 0.5
    assert seen[:20].mean() > 0.95


def test_other_pictures_are_no_neighbours() -> None:
    other = np.ascontiguousarray(texture(5)[:HEIGHT, :WIDTH])
    labels = window(0)[1]
    assert temporal_consistency(window(0)[0], other, labels, labels) is None


def test_neighbours_follow_one_another() -> None:
    assert consecutive([4, 5, 9, 10, 11, 20]) == [(0, 1), (2, 3), (3, 4)]
    assert consecutive([]) == []
