"""Cars, trucks and buses; the nearer end is at z = 0, the middle at x = 0."""

from __future__ import annotations

import numpy as np

from acclimate.world.classes import BUS, CAR, TRUCK
from acclimate.world.mesh import Builder, Colour, Mesh, disc, face, flat, side, tint, wall, wheel

PAINTS: tuple[Colour, ...] = (
    (178, 34, 38),
    (36, 70, 150),
    (226, 228, 230),
    (150, 154, 158),
    (38, 40, 44),
    (60, 110, 80),
    (206, 170, 60),
    (120, 60, 50),
    (80, 130, 180),
    (226, 120, 40),
)
_GLASS: Colour = (46, 58, 72)
_RUBBER: Colour = (24, 24, 26)
_HEAD: Colour = (255, 246, 222)
_TAIL: Colour = (255, 36, 24)


def car(rng: np.random.Generator, oncoming: bool, sides: tuple[int, ...]) -> Mesh:
    """A car of varied size, showing its front when oncoming and its back otherwise."""
    paint = PAINTS[int(rng.integers(len(PAINTS)))]
    w, h = rng.uniform(0.84, 0.95), rng.uniform(1.38, 1.75)
    length, belt = rng.uniform(3.7, 4.6), rng.uniform(0.78, 0.92)
    nose, tail = (1.0, 0.15) if oncoming else (0.2, 0.9)
    roof = (nose + 0.55, length - tail - 0.5)
    b = Builder(CAR).shade(0.0, 0.5 * length, w + 0.25, 0.62 * length)
    for s in sides:
        b.add(side(s * w, [(0, 0.25), (0, belt), (length, belt - 0.05), (length, 0.25)]), paint)
        cabin = [
            (nose, belt - 0.1),
            (nose, belt),
            (roof[0], h),
            (roof[1], h),
            (length - tail, belt - 0.1),
        ]
        b.add(side(s * 0.88 * w, cabin), tint(paint, 0.9))
        glass = [
            (nose + 0.2, belt + 0.04),
            (roof[0] + 0.05, h - 0.1),
            (roof[1], h - 0.1),
            (length - tail - 0.3, belt + 0.04),
        ]
        b.detail(side(s * 0.9 * w, glass), _GLASS)
        for z in (0.7, length - 0.75):
            b.add(wheel(s * w, 0.32, z, 0.33), _RUBBER)
            b.detail(wheel(s * w, 0.32, z, 0.17), (140, 140, 144), 20.0)
    b.add(flat(-w, w, 0.0, nose, belt), tint(paint, 1.12))
    b.add(_slant(0.89 * w, belt, nose, 0.89 * w, h, roof[0]), tint(paint, 0.92))
    b.detail(_slant(0.8 * w, belt + 0.06, nose, 0.76 * w, h - 0.09, roof[0]), _GLASS, 90.0)
    b.add([face(-w, 1.4 * -w / 2, 0, 0.3, 0), face(1.4 * w / 2, w, 0, 0.3, 0)], _RUBBER)
    b.add(face(-w, w, 0.22, belt, 0.0), tint(paint, 0.84))
    b.detail(face(-w, w, 0.22, 0.42, 0.0), tint(paint, 0.5))
    b.detail(face(-0.26, 0.26, 0.46, 0.58, 0.0), (225, 222, 205), 30.0)
    _lamps(b, CAR, oncoming, w, belt - 0.12, 0.12)
    return b.build()


def truck(rng: np.random.Generator, oncoming: bool, sides: tuple[int, ...]) -> Mesh:
    """A cargo box with a cab, which is at the near end when oncoming."""
    cab = PAINTS[int(rng.integers(len(PAINTS)))]
    light = tuple(rng.integers(150, 240, 3).tolist())
    box = light if rng.random() < 0.6 else tint(PAINTS[int(rng.integers(len(PAINTS)))], 0.9)
    w, h, length = rng.uniform(1.15, 1.3), rng.uniform(2.7, 3.7), rng.uniform(6.0, 10.0)
    start, stop = (2.0, length) if oncoming else (0.0, length - 2.1)
    b = Builder(TRUCK).shade(0.0, 0.5 * length, w + 0.35, 0.55 * length)
    for s in sides:
        b.add(wall(s * w, 0.0, length, 0.55, 1.0), (52, 54, 58))
        if not oncoming:
            b.add(wall(s * w, stop + 0.15, length, 0.5, 2.5), cab)
        b.add(wall(s * w, start, stop, 0.95, h), box)
        b.detail(wall(s * w, start + 0.6, stop - 0.6, 1.5, 1.5 + 0.25 * h), tint(cab, 0.9))
        for z in (0.9, length - 3.2, length - 1.0):
            b.add(wheel(s * w, 0.5, z, 0.5), _RUBBER)
    if oncoming:
        b.add(face(-w, w, 0.95, h, start), tint(box, 0.85))
        for s in sides:
            b.add(wall(0.98 * s * w, 0.0, 1.8, 0.5, 2.5), tint(cab, 0.92))
            b.detail(wall(0.99 * s * w, 0.3, 1.2, 1.5, 2.2), _GLASS)
        b.add(face(-0.98 * w, 0.98 * w, 0.4, 2.5, 0.0), cab)
        b.detail(face(-0.88 * w, 0.88 * w, 1.45, 2.25, 0.0), _GLASS, 90.0)
        b.detail(face(-0.6 * w, 0.6 * w, 0.8, 1.2, 0.0), (40, 42, 46))
    else:
        b.add(face(-w, w, 0.5, 0.95, 0.0), (44, 46, 50))
        b.add(face(-w, w, 0.95, h, 0.0), tint(box, 0.86))
        b.detail(face(-0.03, 0.03, 1.0, h - 0.1, 0.0), tint(box, 0.5), 60.0)
        b.detail(
            [face(s * 0.5 * w - 0.03, s * 0.5 * w + 0.03, 1.0, h, 0.0) for s in (-1, 1)],
            tint(box, 0.7),
            40.0,
        )
    b.add([face(-w, -0.6 * w, 0.0, 0.6, 0.0), face(0.6 * w, w, 0.0, 0.6, 0.0)], _RUBBER)
    _lamps(b, TRUCK, oncoming, w, 0.8, 0.14)
    return b.build()


def bus(rng: np.random.Generator, oncoming: bool, sides: tuple[int, ...]) -> Mesh:
    """A long box with a band of windows and a destination sign."""
    livery: tuple[Colour, ...] = ((214, 178, 40), (190, 40, 44), (46, 110, 170), (70, 140, 80))
    paint = livery[int(rng.integers(len(livery)))]
    trim = tint(paint, 0.55) if rng.random() < 0.5 else (235, 235, 232)
    w, h, length = 1.25, rng.uniform(2.9, 3.3), rng.uniform(9.0, 12.0)
    b = Builder(BUS).shade(0.0, 0.5 * length, w + 0.35, 0.55 * length)
    lit = b.slot(BUS, emission=(150, 130, 90))
    for s in sides:
        b.add(wall(s * w, 0.0, length, 0.35, h), paint)
        b.detail(wall(s * w, 0.0, length, 0.35, 0.8), trim)
        panes = np.arange(0.4, length - 1.2, 1.4)
        b.add([wall(s * w, z, z + 1.2, 1.35, 2.45) for z in panes], _GLASS, lit, 70.0)
        for z in (2.0, length - 2.4):
            b.add(wheel(s * w, 0.48, z, 0.48), _RUBBER)
    b.add(face(-w, w, 0.3, h, 0.0), tint(paint, 0.9))
    b.detail(face(-w, w, 0.3, 0.7, 0.0), trim)
    b.add(face(-0.9 * w, 0.9 * w, 1.25, 2.45, 0.0), _GLASS, lit, 90.0)
    sign = b.slot(BUS, emission=(255, 150, 40))
    b.add(face(-0.6 * w, 0.6 * w, h - 0.35, h - 0.1, 0.0), (240, 170, 60), sign, 60.0)
    b.add([face(-w, -0.65 * w, 0.0, 0.4, 0.0), face(0.65 * w, w, 0.0, 0.4, 0.0)], _RUBBER)
    _lamps(b, BUS, oncoming, w, 0.95, 0.14)
    return b.build()


def _slant(
    w0: float, y0: float, z0: float, w1: float, y1: float, z1: float
) -> list[tuple[float, float, float]]:
    return [(-w0, y0, z0), (w0, y0, z0), (w1, y1, z1), (-w1, y1, z1)]


def _lamps(b: Builder, label: int, oncoming: bool, w: float, y: float, radius: float) -> None:
    slot = b.slot(label, emission=_HEAD if oncoming else _TAIL)
    colour = (250, 246, 226) if oncoming else (206, 30, 26)
    x = w - radius - 0.06
    b.add([disc(s * x, y, 0.0, 1.3 * radius, radius, 8) for s in (-1, 1)], colour, slot, 110.0)
