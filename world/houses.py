"""Buildings: the near corner at the road's side is at x = 0, z = 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acclimate.world.classes import BUILDING
from acclimate.world.mesh import Builder, Colour, Mesh, face, tint, wall

_WALLS: tuple[Colour, ...] = (
    (196, 178, 150),
    (168, 96, 76),
    (206, 200, 190),
    (150, 150, 154),
    (214, 186, 120),
    (130, 112, 100),
    (182, 140, 124),
    (120, 134, 148),
    (226, 220, 204),
)
_ROOFS: tuple[Colour, ...] = ((140, 70, 54), (90, 84, 84), (112, 92, 76), (70, 76, 90))


def building(rng: np.random.Generator, outward: int, length: float, urban: float) -> Mesh:
    """A house or a block whose long wall follows the road; outward is -1 left, 1 right."""
    floors = int(rng.integers(1, 3)) + int(rng.integers(0, 5) * urban + 0.5 * urban)
    storey = rng.uniform(2.7, 3.4)
    h, across = floors * storey + 0.6, outward * rng.uniform(7.0, 11.0)
    paint = _vary(rng, _WALLS[int(rng.integers(len(_WALLS)))])
    gabled = floors <= 3 and rng.random() < 0.8
    b = Builder(BUILDING, 0.07)
    if gabled:
        _roof(b, rng, across, length, h, paint)
    b.add(face(min(0.0, across), max(0.0, across), 0.0, h, 0.0), tint(paint, 0.8))
    b.add(wall(0.0, 0.0, length, 0.0, h), paint)
    if not gabled:
        b.detail(wall(0.0, 0.0, length, h - 0.4, h), tint(paint, 0.75), 80.0)
    b.detail(wall(0.0, 0.0, length, 0.0, 0.5), tint(paint, 0.7))
    _windows(b, rng, across, length, floors, storey)
    _ground_floor(b, rng, length, urban)
    return b.build()


def _roof(
    b: Builder, rng: np.random.Generator, across: float, length: float, h: float, paint: Colour
) -> None:
    rise, tiles = rng.uniform(1.5, 3.2), _vary(rng, _ROOFS[int(rng.integers(len(_ROOFS)))])
    middle, eave = 0.5 * across, -0.06 * across
    b.add([(0, h, 0), (across, h, 0), (middle, h + rise, 0)], tint(paint, 0.76))
    slope = [
        (eave, h - 0.2, -0.3),
        (eave, h - 0.2, length + 0.3),
        (middle, h + rise, length + 0.3),
        (middle, h + rise, -0.3),
    ]
    b.add(slope, tiles)


def _windows(
    b: Builder, rng: np.random.Generator, across: float, length: float, floors: int, storey: float
) -> None:
    """Panes on both walls; some of them are lit at night."""
    pitch, wide, tall = rng.uniform(2.0, 3.0), rng.uniform(0.8, 1.4), rng.uniform(1.2, 1.7)
    glass = _vary(rng, (70, 84, 100) if rng.random() < 0.7 else (120, 150, 176))
    frame = (224, 222, 214) if rng.random() < 0.5 else (88, 80, 74)
    long: list[NDArray[np.float32]] = []
    short: list[NDArray[np.float32]] = []
    for floor in range(floors):
        y = floor * storey + 1.0
        long += [
            wall(0.0, z, z + wide, y, y + tall) for z in np.arange(0.8, length - wide - 0.3, pitch)
        ]
        edges = np.arange(0.8, abs(across) - wide - 0.3, pitch) * np.sign(across)
        short += [face(x, x + wide * np.sign(across), y, y + tall, 0.0) for x in edges]
    panes = np.array(long + short, np.float32).reshape(-1, 4, 3)
    ledges = panes.copy()
    ledges[:, 2:, 1] = ledges[:, :2, 1] + 0.02
    ledges[:, :2, 1] -= 0.14
    lit = rng.random(len(panes)) < 0.3
    b.detail(panes[~lit], glass, 70.0)
    glow = tint(_vary(rng, (250, 206, 130)), 0.62)
    b.add(panes[lit], tint(glass, 1.15), b.slot(BUILDING, 0.02, glow), 70.0)
    b.detail(ledges, frame, 30.0)


def _ground_floor(b: Builder, rng: np.random.Generator, length: float, urban: float) -> None:
    door = rng.uniform(0.15, 0.7) * length
    if rng.random() < 0.7 * urban:
        shop = b.slot(BUILDING, 0.02, tint((190, 170, 130), rng.choice([0.0, 0.5, 0.8])))
        b.add(wall(0.0, 0.6, length - 0.6, 0.5, 2.3), (58, 66, 74), shop, 60.0)
        b.detail(wall(0.0, 0.4, length - 0.4, 2.35, 2.95), rng.integers(40, 230, 3).tolist(), 70.0)
    b.detail(wall(0.0, door, door + 1.2, 0.0, 2.2), rng.integers(40, 150, 3).tolist())


def _vary(rng: np.random.Generator, colour: Colour) -> Colour:
    return tint([c * g for c, g in zip(colour, rng.uniform(0.88, 1.12, 3), strict=True)])
