"""Pictures for people: the confusion of classes, the legend of an overlay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.runtime.durable import write_atomic

Image = NDArray[np.uint8]
FONT = cv2.FONT_HERSHEY_SIMPLEX
BLACK, GREY, WHITE = (0, 0, 0), (225, 225, 225), (255, 255, 255)
MARGIN = 12


def confusion_picture(table: NDArray[np.float64], names: Sequence[str], title: str) -> Image:
    """Counts (T,T), rows truth -> RGB picture: each row in percent of its truth.

    Rows without labels are grey. Numbers are written where the cells are large enough.
    """
    cell = 40 if len(names) <= 30 else 20 if len(names) <= 70 else 14
    scale = 0.45 if cell == 40 else 0.4
    room = max(_width(name, scale) for name in names) + 2 * MARGIN
    rows = table / np.maximum(table.sum(1, keepdims=True), 1)
    field = _field(rows, table.sum(1) > 0, cell)
    height, width = field.shape[:2]
    wide = max(room + width, _width(title, 0.5) + 2 * MARGIN)
    picture = np.full((60 + room + height + MARGIN, wide + MARGIN, 3), 255, np.uint8)
    picture[60 + room : 60 + room + height, room : room + width] = field
    _write(picture, title, (MARGIN, 24), 0.5)
    _write(picture, "rows: truth, columns: answer, in % of the truth", (MARGIN, 46), 0.4)
    middle = (np.arange(len(names)) + 0.5) * cell
    for name, at in zip(names, middle, strict=True):
        corner = (room - MARGIN - _width(name, scale), int(60 + room + at + 5))
        _write(picture, name, corner, scale)
        _write_upwards(picture, name, (int(room + at - 7), 60 + room - MARGIN), scale)
    return picture


def legend(names: Sequence[str], palette: Image) -> Image:
    """A line for each class: its colour and its name."""
    room = max(_width(name, 0.5) for name in names)
    picture = np.full((26 * len(names) + MARGIN, room + 60, 3), 255, np.uint8)
    for i, (name, colour) in enumerate(zip(names, palette, strict=True)):
        top = MARGIN // 2 + 26 * i
        picture[top + 4 : top + 22, MARGIN : MARGIN + 26] = colour
        _write(picture, name, (MARGIN + 36, top + 18), 0.5)
    return picture


def save(path: Path, picture: Image) -> None:
    """Write an RGB picture as PNG, whole or not at all; raises OSError."""
    _, png = cv2.imencode(".png", picture[:, :, ::-1])
    write_atomic(path, png.tobytes())


def _field(rows: NDArray[np.float64], known: NDArray[np.bool_], cell: int) -> Image:
    """Cells from white (0) to dark blue (100 %), with lines between them."""
    dark = np.array((8, 48, 107)) - 255
    colours = np.where(known[:, None, None], 255 + np.sqrt(rows)[..., None] * dark, GREY)
    field = np.kron(colours, np.ones((cell, cell, 1))).astype(np.uint8)
    field[::cell], field[:, ::cell] = GREY, GREY
    if cell >= 40:
        for i, j in np.argwhere(rows >= 0.005):
            text, ink = f"{100 * rows[i, j]:.0f}", WHITE if rows[i, j] > 0.3 else BLACK
            left = int((j + 0.5) * cell - _width(text, 0.4) / 2)
            _write(field, text, (left, int((i + 0.5) * cell + 5)), 0.4, ink)
    return field


def _write(
    picture: Image, text: str, corner: tuple[int, int], scale: float,
    ink: tuple[int, int, int] = BLACK,
) -> None:  # fmt: skip
    """Text whose baseline begins at `corner` (x, y)."""
    cv2.putText(picture, text, corner, FONT, scale, ink, 1, cv2.LINE_AA)


def _write_upwards(picture: Image, text: str, corner: tuple[int, int], scale: float) -> None:
    """Text read from below, its beginning at `corner` (x, y of its lower left)."""
    strip = np.full((18, _width(text, scale) + 4, 3), 255, np.uint8)
    _write(strip, text, (2, 13), scale)
    turned = cast("Image", cv2.rotate(strip, cv2.ROTATE_90_COUNTERCLOCKWISE))
    x, y = corner
    y, x = max(0, y - turned.shape[0]), min(x, picture.shape[1] - turned.shape[1])
    picture[y : y + turned.shape[0], x : x + turned.shape[1]] = turned


def _width(text: str, scale: float) -> int:
    return int(cv2.getTextSize(text, FONT, scale, 1)[0][0])
