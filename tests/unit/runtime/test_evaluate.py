"""Confusion, IoU and pairs of pictures and labels, against numbers worked out by hand."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from acclimate.errors import EngineError, SourceError
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.evaluate import (
    class_iou,
    confusion,
    evaluate,
    mean_iou,
    read_image,
    read_labels,
)

BUNDLE = cast("Bundle", SimpleNamespace(classes=3))


class RedIsOne:
    """An engine of 4 x 6 pixels, its bundle of three classes: red is class 1, all else 0."""

    info = SimpleNamespace(size=(4, 6))

    def infer(self, frame: NDArray[np.uint8], bundle: Bundle) -> Any:
        assert frame.shape == (4, 6, 3)
        return SimpleNamespace(labels=(frame[:, :, 0] > 127).astype(np.uint8))


RED_IS_ONE = cast("Engine", RedIsOne())


def left_red(height: int = 4, width: int = 6) -> NDArray[np.uint8]:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 255
    return image


def save(path: Path, rgb: NDArray[np.uint8]) -> None:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), rgb[:, :, ::-1] if rgb.ndim == 3 else rgb)


def test_rows_are_truth_and_columns_are_guesses() -> None:
    truth = np.array([[0, 0, 1, 2]], np.uint8)
    guess = np.array([[1, 1, 1, 0]], np.uint8)
    np.testing.assert_array_equal(confusion(truth, guess, 3), [[0, 2, 0], [0, 1, 0], [1, 0, 0]])


def test_pixels_without_a_class_count_nowhere() -> None:
    truth = np.array([[255, 3, 0]], np.uint8)
    assert confusion(truth, np.zeros((1, 3), np.uint8), 3).tolist() == [[1, 0, 0], [0] * 3, [0] * 3]


def test_a_guess_outside_the_classes_is_told_and_counted_nowhere() -> None:
    truth = np.array([[0, 1, 255]], np.uint8)
    with pytest.raises(EngineError, match="class 3, it has 3 classes"):
        confusion(truth, np.array([[3, 1, 0]], np.uint8), 3)
    unseen = np.array([[0, 1, 3]], np.uint8)
    assert confusion(truth, unseen, 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_many_classes_do_not_overflow() -> None:
    table = confusion(np.array([[254]], np.uint8), np.array([[253]], np.uint8), 255)
    assert (table[254, 253], table.sum()) == (1, 1)


def test_iou_and_its_mean() -> None:
    table = np.array([[3.0, 1, 0, 2], [1, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]])
    # class 0: 3 of 3+1+2+1; class 1: 1 of 1+1+1+2; class 2: 0 of 2; class 3 has no labels
    np.testing.assert_allclose(class_iou(table), [300 / 7, 20, 0, np.nan])
    assert mean_iou(table) == pytest.approx((300 / 7 + 20 + 0) / 3)


def test_no_labels_have_no_mean() -> None:
    assert np.isnan(mean_iou(np.zeros((3, 3))))


def test_an_engine_is_judged_at_the_labels_own_size() -> None:
    truth = np.zeros((8, 12), np.uint8)
    truth[:4, :6] = 1  # the engine says 1 on the whole left half
    table = evaluate(RED_IS_ONE, BUNDLE, [(left_red(), truth), (left_red(16, 24), truth)])
    assert table.tolist() == [[96, 48, 0], [0, 48, 0], [0, 0, 0]]
    assert mean_iou(table) == pytest.approx((100 * 96 / 144 + 50) / 2)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.png").write_bytes(b"rot")
    with pytest.raises(SourceError, match=r"c\.png"):
        read_image(tmp_path / "c.png")


def png(colour: int, depth: int, pixels: bytes, palette: bytes = b"") -> bytes:
    """One row of 4 pixels, written as the PNG specification says."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0" + pixels))
    colours = chunk(b"PLTE", palette) if palette else b""
    return b"\x89PNG\r\n\x1a\n" + head + colours + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("depth", [8, 16])
def test_grey_values_are_class_indices(tmp_path: Path, depth: int) -> None:
    values = [0, 7, 254, 255] if depth == 8 else [0, 7, 846, 65535]
    pixels = b"".join(value.to_bytes(depth // 8, "big") for value in values)
    (tmp_path / "a.png").write_bytes(png(0, depth, pixels))
    assert read_labels(tmp_path / "a.png").tolist() == [values]


@pytest.mark.parametrize(
    ("colour", "depth", "pixels", "said"),
    [
        (3, 8, bytes([0, 1, 2, 1]), "palette PNG of 8 bits"),
        (3, 4, bytes([0x01, 0x21]), "palette PNG of 4 bits"),
        (0, 1, bytes([0b01010000]), "grey PNG of 1 bits"),
        (0, 4, bytes([0x01, 0x23]), "grey PNG of 4 bits"),
        (2, 8, bytes(12), "colour PNG of 8 bits"),
        (4, 8, bytes(8), "grey and alpha PNG of 8 bits"),
        (6, 8, bytes(16), "colour and alpha PNG of 8 bits"),
    ],
)
def test_labels_that_would_be_read_as_shades_are_refused(
    tmp_path: Path, colour: int, depth: int, pixels: bytes, said: str
) -> None:
    palette = bytes([128, 64, 128, 70, 70, 70, 0, 0, 142]) if colour == 3 else b""
    (tmp_path / "a.png").write_bytes(png(colour, depth, pixels, palette))
    with pytest.raises(SourceError, match=rf"a\.png is a {said}; save the class indices"):
        read_labels(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"rot" * 20, png(0, 8, bytes(4))[:24]], ids=len)
def test_labels_that_are_no_png_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.png is not a PNG"):
        read_labels(tmp_path / "a.png")


def test_torn_labels_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0, 8, bytes(4))[:30])
    with pytest.raises(SourceError, match=r"a\.png"):
        read_labels(tmp_path / "a.png")


def test_a_picture_that_claims_to_be_huge_is_named(tmp_path: Path) -> None:
    save(tmp_path / "huge.jpg", left_red(16, 16))
    content = bytearray((tmp_path / "huge.jpg").read_bytes())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = b"\xff\xdc\xff\xdc"
    (tmp_path / "huge.jpg").write_bytes(content)
    with pytest.raises(SourceError, match=r"huge\.jpg"):
        read_image(tmp_path / "huge.jpg")
