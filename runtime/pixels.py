"""How large a picture says it is, before anything is decoded: a few bytes may claim gigabytes, as
its size or, where OpenCV makes room for it unseen, as the length of a part."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import BinaryIO

from acclimate.errors import SourceError

MOST_PIXELS = 1 << 26  # 8192 x 8192: 200 MB decoded
_COLOURS = {0: "grey", 2: "colour", 3: "palette", 4: "grey and alpha", 6: "colour and alpha"}
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of frame, of any kind
_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}


def check_pixels(path: Path) -> None:
    """Raises SourceError for a file that is neither PNG nor JPEG by its content, whatever its name
    is, or has more than MOST_PIXELS; OSError where it cannot be read."""
    with path.open("rb") as file:
        check_stream(str(path), file)


def check_encoded(name: str, content: bytes) -> None:
    """The same for a picture in memory."""
    check_stream(name, io.BytesIO(content))


def check_label_map(path: Path) -> None:
    """Raises SourceError for a file that is no grey PNG of 8 or 16 bits: OpenCV makes colours of a
    palette's indices and stretches those of 1, 2 or 4 bits to shades."""
    with path.open("rb") as file:
        head = file.read(26)  # signature 8, length and name 8, width 4, height 4, depth, colour
    if not head.startswith(_PNG) or len(head) < 26:
        raise SourceError(f"label map {path} is not a PNG")
    depth, colour = head[24], _COLOURS.get(head[25], "unknown")
    if colour != "grey" or depth not in (8, 16):
        raise SourceError(
            f"label map {path} is a {colour} PNG of {depth} bits; "
            "save the class indices as grey values of 8 or 16 bits"
        )


def check_stream(name: str, file: BinaryIO) -> None:
    """The same for an open file, read from its beginning."""
    head = file.read(24)
    if head.startswith(_PNG) and len(head) == 24:
        width, height = struct.unpack(">II", head[16:24])
        _check_parts(name, file)
    elif head.startswith(_JPEG):
        file.seek(2)
        width, height = _jpeg(name, file)
    else:
        raise SourceError(f"{name} is not a readable image: neither PNG nor JPEG by its content")
    if width * height > MOST_PIXELS:
        raise SourceError(
            f"{name} has {width} x {height} pixels; at most {MOST_PIXELS} are decoded, "
            "scale it down"
        )


def _check_parts(name: str, file: BinaryIO) -> None:
    """None of a PNG's parts may be longer than what is left of the file."""
    end, at = file.seek(0, io.SEEK_END), len(_PNG)
    while at < end:
        file.seek(at)
        at += 12 + int.from_bytes(file.read(4), "big")
    if at > end:
        raise SourceError(f"{name} is not a readable image: a PNG that breaks off")


def _jpeg(name: str, file: BinaryIO) -> tuple[int, int]:
    """Width and height of the frame header, past all segments before it."""
    while (marker := _marker(file)) is not None:
        if marker in _NO_LENGTH:
            continue
        if len(length := file.read(2)) < 2 or marker in (0xD9, 0xDA):
            break
        if marker in _SIZES and len(frame := file.read(5)) == 5:
            height, width = struct.unpack(">HH", frame[1:])
            return width, height
        file.seek(max(0, struct.unpack(">H", length)[0] - 2), io.SEEK_CUR)
    raise SourceError(f"{name} is not a readable image: a JPEG that does not say its size")


def _marker(file: BinaryIO) -> int | None:
    """The next marker's second byte; None at the end or where there is none."""
    if file.read(1) != b"\xff":
        return None
    while (byte := file.read(1)) == b"\xff":
        pass
    return byte[0] if byte else None
