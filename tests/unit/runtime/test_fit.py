"""Pictures into frames and maps back: sizes by hand, places by colours, orders by round trips."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from acclimate.runtime.evaluate import evaluate
from acclimate.runtime.fit import How, cut, fit, is_picture, nearest, part
from acclimate.runtime.predict import served

SIDE = st.integers(1, 300)
BOTH: tuple[How, How] = ("squash", "letterbox")


def halves(height: int, width: int) -> NDArray[np.uint8]:
    """Left half of value 10, right half of 200."""
    frame = np.full((height, width, 3), 10, np.uint8)
    frame[:, width // 2 :] = 200
    return frame


@pytest.mark.parametrize("how", BOTH)
def test_a_frame_that_fits_is_left_alone(how: How) -> None:
    frame = halves(4, 6)
    assert fit(frame, (4, 6), how) is frame
    assert fit(frame, (2, 3), how).shape == (2, 3, 3)
    assert fit(frame, (9, 7), how).shape == (9, 7, 3)


@pytest.mark.parametrize(
    ("picture", "size", "rows", "columns"),
    [
        ((1080, 1920), (384, 384), (84, 300), (0, 384)),  # 16:9 into a square: 216 rows
        ((1920, 1080), (384, 384), (0, 384), (84, 300)),
        ((480, 640), (160, 224), (0, 160), (5, 218)),  # 213.3 columns
        ((160, 224), (320, 448), (0, 320), (0, 448)),
        ((1, 5000), (160, 224), (79, 80), (0, 224)),  # never nothing of it
    ],
)
def test_a_letterboxed_picture_lies_in_the_middle(
    picture: tuple[int, int], size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    assert part(picture, size) == (slice(*rows), slice(*columns))


def test_what_is_free_shows_the_picture_reflected() -> None:
    picture = np.arange(4, dtype=np.uint8).repeat(8).reshape(4, 8)[..., None].repeat(3, 2)
    frame = fit(picture, (8, 8), "letterbox")
    assert frame[:, 0, 0].tolist() == [1, 0, 0, 1, 2, 3, 3, 2]


def test_a_picture_far_longer_than_the_frame_is_reflected_again_and_again() -> None:
    frame = fit(halves(2, 400), (100, 100), "letterbox")
    assert frame.shape == (100, 100, 3)
    assert (frame[:, :49] == 10).all() and (frame[:, 51:] == 200).all()


@given(SIDE, SIDE, SIDE, SIDE)
def test_the_part_is_the_largest_with_the_picture_s_aspect(
    h: int, w: int, height: int, width: int
) -> None:
    rows, columns = part((h, w), (height, width))
    tall, wide = rows.stop - rows.start, columns.stop - columns.start
    assert rows.start >= 0 and rows.stop <= height and columns.start >= 0 and columns.stop <= width
    assert tall == height or wide == width
    assert abs(tall * w - wide * h) <= max(h, w) or 1 in (tall, wide)
    assert abs(rows.start - (height - rows.stop)) <= 1
    assert abs(columns.start - (width - columns.stop)) <= 1


@pytest.mark.parametrize("picture", [(30, 90), (90, 30), (64, 64), (17, 200)])
def test_maps_come_back_to_where_they_were(picture: tuple[int, int]) -> None:
    """Thresholded, both halves of the picture must return as they went."""
    wanted = halves(*picture)[..., 0]
    frame = fit(halves(*picture), (96, 96), "letterbox")[..., 0]
    back = nearest(np.where(cut(frame, picture, "letterbox") > 105, 200, 10), picture)
    assert (back == wanted).mean() > 0.97


def test_squashed_maps_are_the_whole_frame() -> None:
    values = np.zeros((4, 6), np.uint8)
    assert cut(values, (100, 10), "squash") is values


def test_labels_are_resized_to_their_nearest() -> None:
    labels = np.array([[0, 9], [4, 2]], np.uint8)
    assert nearest(labels, (2, 2)) is labels
    np.testing.assert_array_equal(nearest(labels, (4, 6)), labels.repeat(2, 0).repeat(3, 1))


@pytest.mark.parametrize(
    ("frame", "picture"),
    [
        (np.zeros((2, 2, 3), np.uint8), True), (np.zeros((2, 2), np.uint8), False),
        (np.zeros((2, 2, 4), np.uint8), False), (np.zeros((2, 2, 3), np.float32), False),
        (np.zeros((0, 2, 3), np.uint8), False), (np.zeros((1, 2, 2, 3), np.uint8), False),
    ],
)  # fmt: skip
def test_what_a_picture_is(frame: NDArray[Any], picture: bool) -> None:
    assert is_picture(frame) is picture


class Bright:
    """An engine that calls what is bright 1, and is sure of it."""

    info = SimpleNamespace(size=(64, 64))

    def infer(self, frame: NDArray[np.uint8], bundle: object) -> Any:
        assert frame.shape == (64, 64, 3)
        return SimpleNamespace(labels=(frame[..., 0] > 105).astype(np.uint8))

    def infer_map(self, frame: NDArray[np.uint8], bundle: object) -> Any:
        labels = self.infer(frame, bundle).labels
        return labels, labels.astype(np.float32)


@pytest.mark.parametrize("how", BOTH)
def test_segment_and_evaluate_see_the_picture_whole_and_no_more(how: How) -> None:
    engine: Any = Bright()
    bundle: Any = SimpleNamespace(classes=2)
    picture, truth = halves(40, 200), (halves(40, 200)[..., 0] > 105).astype(np.uint8)
    seen = served(engine, bundle, how)(picture, (40, 200))
    assert (seen.labels == truth).mean() > 0.97 and (seen.probability == truth).mean() > 0.97
    table = evaluate(engine, bundle, [(picture, truth)], how)
    assert table.sum() == truth.size and table.trace() > 0.97 * truth.size
