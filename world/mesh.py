"""Flat-coloured polygon models in metres: x right, y up, z away from the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
FAR = 1e9
NO_SLOT = -1  # a part that only paints over the silhouette of parts before it


@dataclass(frozen=True)
class Slot:
    """What a pixel belongs to: a label, how grainy it is, and the light it gives off at night."""

    label: int
    grain: float
    emission: Colour = (0, 0, 0)


@dataclass(frozen=True)
class Part:
    """Polygons of one colour: points[start:stop] in groups of `corners`, seen up to `reach` m."""

    start: int
    stop: int
    corners: int
    colour: Colour
    slot: int
    reach: float


@dataclass(frozen=True)
class Mesh:
    """points (N, 3) float32; parts in painting order; `shadow` (M, 3) is its patch of shade.

    It reaches from `left` to `right` across and `depth` along the road, in metres.
    """

    points: NDArray[np.float32]
    parts: tuple[Part, ...]
    slots: tuple[Slot, ...]
    shadow: NDArray[np.float32]
    depth: float
    left: float
    right: float


class Builder:
    """Collects polygons into a Mesh."""

    def __init__(self, label: int, grain: float = 0.05) -> None:
        self._points: list[NDArray[np.float32]] = []
        self._parts: list[Part] = []
        self._slots: list[Slot] = [Slot(label, grain)]
        self._count = 0
        self._shadow = np.zeros((0, 3), np.float32)

    def slot(self, label: int, grain: float = 0.05, emission: Colour = (0, 0, 0)) -> int:
        """Open a further slot; slot 0 is the builder's own label."""
        self._slots.append(Slot(label, grain, emission))
        return len(self._slots) - 1

    def add(
        self, polygons: Any, colour: Sequence[float], slot: int = 0, reach: float = FAR
    ) -> Builder:
        """Paint one polygon (n, 3) or several of equal size (m, n, 3) over what is there."""
        points = np.asarray(polygons, np.float32)
        corners = points.shape[-2]
        points = points.reshape(-1, 3)
        if len(points):
            stop = self._count + len(points)
            paint = tint(colour)
            self._parts.append(Part(self._count, stop, corners, paint, slot, reach))
            self._points.append(points)
            self._count = stop
        return self

    def detail(self, polygons: Any, colour: Sequence[float], reach: float = 45.0) -> Builder:
        """Paint within the silhouette: colour only, dropped beyond `reach` metres."""
        return self.add(polygons, colour, NO_SLOT, reach)

    def shade(self, x: float, z: float, rx: float, rz: float) -> Builder:
        """Cast an elliptic shadow on the ground around (x, z)."""
        angle = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
        ring = (x + rx * np.cos(angle), 0.0 * angle, z + rz * np.sin(angle))
        self._shadow = np.stack(ring, axis=1).astype(np.float32)
        return self

    def build(self) -> Mesh:
        points = np.concatenate(self._points)
        return Mesh(
            points,
            tuple(self._parts),
            tuple(self._slots),
            self._shadow,
            float(points[:, 2].max()),
            float(points[:, 0].min()),
            float(points[:, 0].max()),
        )


def tint(colour: Sequence[float], gain: float = 1.0) -> Colour:
    """The colour times gain, as valid 8-bit RGB."""
    r, g, b = (int(min(255.0, max(0.0, c * gain))) for c in colour)
    return r, g, b


def face(x0: float, x1: float, y0: float, y1: float, z: float) -> NDArray[np.float32]:
    """(4, 3) rectangle that faces the camera."""
    return np.array([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], np.float32)


def wall(x: float, z0: float, z1: float, y0: float, y1: float) -> NDArray[np.float32]:
    """(4, 3) rectangle along the road."""
    return np.array([(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)], np.float32)


def flat(x0: float, x1: float, z0: float, z1: float, y: float = 0.0) -> NDArray[np.float32]:
    """(4, 3) rectangle parallel to the ground."""
    return np.array([(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)], np.float32)


def side(x: float, outline: Sequence[tuple[float, float]]) -> NDArray[np.float32]:
    """(n, 3) polygon along the road from (z, y) corners."""
    return np.array([(x, y, z) for z, y in outline], np.float32)


def disc(
    x: float, y: float, z: float, rx: float, ry: float, corners: int = 12, turn: float = 0.0
) -> NDArray[np.float32]:
    """(corners, 3) ellipse that faces the camera."""
    angle = np.linspace(0.0, 2.0 * np.pi, corners, endpoint=False) + turn
    ring = (x + rx * np.cos(angle), y + ry * np.sin(angle), np.full(corners, z))
    return np.stack(ring, axis=1).astype(np.float32)


def wheel(x: float, y: float, z: float, radius: float, corners: int = 12) -> NDArray[np.float32]:
    """(corners, 3) disc seen from the side of the road."""
    return disc(z, y, x, radius, radius, corners)[:, [2, 1, 0]]
