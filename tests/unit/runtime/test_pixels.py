"""Pictures that claim to be vast are not decoded; all others are."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from acclimate.errors import SourceError
from acclimate.runtime.evaluate import read_image
from acclimate.runtime.pixels import MOST_PIXELS, check_pixels


def png(width: int, height: int) -> bytes:
    """A PNG of this size whose pixels are a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(
            ">I", zlib.crc32(kind + content)
        )  # fmt: skip

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(
        b"IDAT", zlib.compress(bytes(1000))
    ) + chunk(b"IEND", b"")  # fmt: skip


@pytest.mark.parametrize("end", [".png", ".jpg"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (37, 51, 3), (480, 640, 3), (20, 30)])
def test_a_usual_picture_is_read(tmp_path: Path, end: str, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    assert cv2.imwrite(str(tmp_path / f"a{end}"), image)
    check_pixels(tmp_path / f"a{end}")
    assert read_image(tmp_path / f"a{end}").shape[:2] == shape[:2]


@pytest.mark.parametrize(
    ("width", "height"), [(60000, 60000), (1 << 30, 1), (2**31 - 1, 2**31 - 1)]
)
def test_a_bomb_is_named_with_its_size(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "a.png").write_bytes(png(width, height))
    with pytest.raises(SourceError, match=f"{width} x {height} pixels; at most {MOST_PIXELS}"):
        read_image(tmp_path / "a.png")


def test_so_is_one_that_is_a_jpeg(tmp_path: Path) -> None:
    _, jpg = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))
    content = bytearray(jpg.tobytes())
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", 65000, 65000)
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(SourceError, match="65000 x 65000 pixels"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("end", [".bmp", ".tiff", ".webp"])
def test_a_name_does_not_choose_the_decoder(tmp_path: Path, end: str) -> None:
    try:
        made, content = cv2.imencode(end, np.zeros((8, 8, 3), np.uint8))
    except cv2.error:
        pytest.skip(f"this OpenCV does not write {end}")
    assert made
    (tmp_path / "a.png").write_bytes(content.tobytes())
    with pytest.raises(SourceError, match="neither PNG nor JPEG by its content"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("seed", range(40))
def test_torn_and_garbled_headers_are_refused_by_name(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    _, jpg = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))
    content = bytearray(jpg.tobytes() if seed % 2 else png(4, 4))
    for at in random.integers(2, len(content), 8):
        content[at] = random.integers(256)
    (tmp_path / "a.png").write_bytes(content[: random.integers(1, len(content))])
    try:
        image = read_image(tmp_path / "a.png")
    except SourceError as error:
        assert "a.png" in str(error)
    else:
        assert image.shape[0] * image.shape[1] <= MOST_PIXELS


@pytest.mark.parametrize("name", ["none.png", "."])
def test_what_cannot_be_opened_is_no_picture(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="is not a readable image"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("length", [0xFF0000B3, 0x7FFFFFFF, 500])
def test_a_part_longer_than_its_file_is_not_made_room_for(tmp_path: Path, length: int) -> None:
    """OpenCV would take gigabytes for it."""
    content = bytearray(png(9, 6))
    content[33:37] = struct.pack(">I", length)
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(SourceError, match="breaks off"):
        read_image(tmp_path / "a.png")
