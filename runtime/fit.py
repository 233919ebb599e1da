"""A picture of any size into the engine's frame, and the engine's maps back onto the picture.

squash: stretched to the frame, as CAT-Seg's own preprocessing does. letterbox: it keeps its aspect,
and what it leaves free of the frame shows it reflected, so that no bar of one colour is seen.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Size = tuple[int, ...]
How = Literal["squash", "letterbox"]


def is_picture(frame: NDArray[Any]) -> bool:
    """Is it uint8 (H,W,3) with something on it?"""
    return frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 and frame.size > 0


def fit(frame: Image, size: Size, how: How = "squash") -> Image:
    """A picture (h,w,3) -> a frame (H,W,3); the same array when it fits already."""
    if frame.shape[:2] == size:
        return frame
    if how == "squash":
        return _resized(frame, size)
    rows, columns = part(frame.shape[:2], size)
    picture = _resized(frame, (rows.stop - rows.start, columns.stop - columns.start))
    filled = cv2.copyMakeBorder(
        picture, rows.start, size[0] - rows.stop, columns.start, size[1] - columns.stop,
        cv2.BORDER_REFLECT,
    )  # fmt: skip
    return cast("Image", filled)


def part(picture: Size, size: Size) -> tuple[slice, slice]:
    """Rows and columns of a frame (H, W) that show a letterboxed picture (h, w), in its middle."""
    scale = min(size[0] / picture[0], size[1] / picture[1])
    extent = [max(1, round(scale * n)) for n in picture]
    start = [(whole - n) // 2 for whole, n in zip(size, extent, strict=True)]
    rows, columns = (slice(a, a + n) for a, n in zip(start, extent, strict=True))
    return rows, columns


def cut(values: NDArray[Any], picture: Size, how: How = "squash") -> NDArray[Any]:
    """The part of a map (H,W) of the frame that shows a picture (h, w); a view."""
    return values if how == "squash" else values[part(picture, values.shape)]


def nearest(values: NDArray[Any], size: Size) -> NDArray[Any]:
    """Nearest-neighbour resize of a map to (H, W)."""
    if values.shape == size:
        return values
    out = cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    return cast("NDArray[Any]", out)


def _resized(frame: Image, size: Size) -> Image:
    how = cv2.INTER_AREA if frame.shape[0] > size[0] else cv2.INTER_LINEAR
    return cast("Image", cv2.resize(frame, (size[1], size[0]), interpolation=how))
