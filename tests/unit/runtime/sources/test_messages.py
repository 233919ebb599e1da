"""Pixels as ROS writes them."""

from __future__ import annotations

import base64
import json

import cv2
import numpy as np
import pytest

from acclimate.errors import SourceError
from acclimate.runtime.sources.messages import ENCODINGS, decoder_of, picture, read
from tests.unit.runtime.sources.bags import RAW, raw
from tests.unit.runtime.test_pixels import png

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
SMOOTH = np.full((6, 8, 3), (180, 90, 60), np.uint8)


def yuyv(image: np.ndarray, swap: bool) -> np.ndarray:
    """(H,W,2) by BT.601, which OpenCV undoes."""
    yuv = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_YUY2)
    return yuv[..., ::-1] if swap else yuv


@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("rgb8", RGB, RGB),
        ("bgr8", RGB[..., ::-1], RGB),
        ("rgba8", np.dstack([RGB, RGB[..., :1]]), RGB),
        ("bgra8", np.dstack([RGB[..., ::-1], RGB[..., :1]]), RGB),
        ("mono8", RGB[..., 0], np.repeat(RGB[..., :1], 3, 2)),
        ("yuyv", yuyv(SMOOTH, False), SMOOTH),
        ("yuv422_yuy2", yuyv(SMOOTH, False), SMOOTH),
        ("uyvy", yuyv(SMOOTH, True), SMOOTH),
        ("yuv422", yuyv(SMOOTH, True), SMOOTH),
    ],
)
def test_every_encoding_is_rgb(encoding: str, pixels: np.ndarray, expected: np.ndarray) -> None:
    decode = decoder_of(RAW, "cdr")
    assert decode is not None
    stamp, image = read(decode, raw(3, encoding, np.ascontiguousarray(pixels)))
    assert stamp % 1 == 0.5
    assert np.abs(image.astype(int) - expected).max() <= (3 if "y" in encoding else 0)


def test_every_encoding_that_is_promised_was_tried() -> None:
    assert set(ENCODINGS) >= {"rgb8", "bgr8", "mono8", "yuyv"}


@pytest.mark.parametrize(
    ("height", "width", "step"),
    [(2**31, 2**31, 2**32), (6, 9, 24), (7, 8, 24), (0, 8, 24), (6, 0, 24)],
)
def test_sizes_that_are_not_there_are_refused(height: int, width: int, step: int) -> None:
    with pytest.raises(SourceError, match="pixels of rgb8"):
        picture("rgb8", height, width, step, bytes(6 * 24))


def test_other_messages_are_no_pictures() -> None:
    assert decoder_of("sensor_msgs/msg/PointCloud2", "cdr") is None
    assert decoder_of(RAW, "json") is None


def test_a_message_nested_beyond_reading_is_none_of_its_type() -> None:
    decode = decoder_of("foxglove.CompressedImage", "json")
    assert decode is not None
    with pytest.raises(SourceError, match="not of its type"):
        read(decode, b"[" * 100_000)


@pytest.mark.parametrize("size", [(60000, 60000), (9, 6)])
def test_a_picture_in_a_message_is_no_bomb(size: tuple[int, int]) -> None:
    """Neither by the size that it claims nor by the length of a part."""
    content = bytearray(png(*size))
    content[33:37] = b"\x7f\xff\xff\xff"
    data = base64.b64encode(content).decode()
    decode = decoder_of("foxglove.CompressedImage", "json")
    assert decode is not None
    with pytest.raises(SourceError, match=r"at most|breaks off"):
        read(decode, json.dumps({"timestamp": {"sec": 1}, "data": data}).encode())
