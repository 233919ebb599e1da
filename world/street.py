"""Lamps, signs and traffic lights on poles."""

from __future__ import annotations

import numpy as np

from acclimate.world.classes import POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN
from acclimate.world.mesh import Builder, Colour, Mesh, disc, face

LIGHT_PHASES = 3
_STEEL: tuple[Colour, ...] = ((120, 124, 128), (84, 88, 90), (60, 70, 64), (150, 150, 146))
_BLUE, _RED, _WHITE, _YELLOW = (30, 80, 180), (200, 30, 36), (240, 240, 236), (238, 200, 40)


def lamp_post(rng: np.random.Generator, towards_road: int) -> Mesh:
    """A street lamp whose arm reaches over the road."""
    h, w, steel = rng.uniform(5.2, 7.0), rng.uniform(0.09, 0.13), _steel(rng)
    b = Builder(POLE, 0.03)
    b.add(face(-w, w, 0.0, h, 0.0), steel)
    b.add(face(-1.4 * w, 1.4 * w, 0.0, 0.8, 0.0), steel)
    tip = 1.5 * towards_road
    b.add([(0, h - 0.16, 0), (0, h, 0), (tip, h + 0.22, 0), (tip, h + 0.06, 0)], steel)
    head = b.slot(POLE, 0.03, (255, 214, 150))
    x0, x1 = sorted((tip - 0.25 * towards_road, tip + 0.45 * towards_road))
    b.add(face(x0, x1, h - 0.02, h + 0.2, 0.0), (226, 222, 206), head)
    return b.build()


def post(rng: np.random.Generator) -> Mesh:
    """A wooden or steel mast, or a low bollard."""
    b = Builder(POLE, 0.06)
    if rng.random() < 0.5:
        w, h = 0.11, rng.uniform(0.9, 1.2)
        b.add(face(-w, w, 0.0, h, 0.0), (70, 72, 76))
        b.detail(face(-w, w, h - 0.25, h - 0.1, 0.0), (220, 60, 40))
    else:
        h = rng.uniform(6.0, 8.0)
        b.add(face(-0.13, 0.13, 0.0, h, 0.0), (112, 90, 68))
        b.add(face(-0.8, 0.8, h - 0.6, h - 0.46, 0.0), (100, 82, 62))
    return b.build()


def sign(rng: np.random.Generator) -> Mesh:
    """A traffic sign of one of the usual shapes on its pole."""
    b = Builder(POLE, 0.03)
    top, size, steel = rng.uniform(2.1, 2.7), rng.uniform(0.4, 0.52), _steel(rng)
    b.add(face(-0.06, 0.06, 0.0, top + 0.2, 0.0), steel)
    slot = b.slot(TRAFFIC_SIGN, 0.02)
    kind = int(rng.integers(6))
    if kind == 0:  # a limit: red ring
        b.add(disc(0, top, 0, size, size, 14), _RED, slot)
        b.detail(disc(0, top, 0, 0.72 * size, 0.72 * size, 14), _WHITE, 60.0)
        bars = [
            face(x, x + 0.2 * size, top - 0.3 * size, top + 0.3 * size, 0)
            for x in (-0.3 * size, 0.1 * size)
        ]
        b.detail(bars, (30, 30, 34), 25.0)
    elif kind == 1:  # a warning: red triangle
        b.add(_triangle(top, 1.15 * size), _RED, slot)
        b.detail(_triangle(top, 0.7 * size), _YELLOW if rng.random() < 0.4 else _WHITE, 60.0)
        b.detail(face(-0.07, 0.07, top - 0.2, top + 0.2, 0), (30, 30, 34), 25.0)
    elif kind == 2:  # a direction: blue disc
        b.add(disc(0, top, 0, size, size, 14), _BLUE, slot)
        b.detail(face(-0.1, 0.1, top - 0.28, top + 0.12, 0), _WHITE, 40.0)
        b.detail(_triangle(top + 0.16, 0.26), _WHITE, 40.0)
    elif kind == 3:  # a notice: blue square
        b.add(face(-size, size, top - size, top + size, 0), _BLUE, slot)
        b.detail(face(-0.6 * size, 0.6 * size, top - 0.6 * size, top + 0.6 * size, 0), _WHITE)
    elif kind == 4:  # a stop: red octagon
        b.add(disc(0, top, 0, size, size, 8, np.pi / 8), _RED, slot)
        b.detail(face(-0.7 * size, 0.7 * size, top - 0.14, top + 0.14, 0), _WHITE, 50.0)
    else:  # a right of way: yellow diamond
        b.add(disc(0, top, 0, 1.15 * size, 1.15 * size, 4), _WHITE, slot)
        b.detail(disc(0, top, 0, 0.85 * size, 0.85 * size, 4), _YELLOW, 60.0)
    return b.build()


def traffic_light(rng: np.random.Generator, towards_road: int) -> tuple[Mesh, ...]:
    """The phases red, green and amber of one light, sometimes with a second box on an arm."""
    steel, top = _steel(rng), rng.uniform(2.5, 3.0)
    arm = towards_road * rng.uniform(1.6, 2.6) if rng.random() < 0.45 else 0.0
    meshes = []
    for phase in range(LIGHT_PHASES):
        b = Builder(POLE, 0.03)
        b.add(face(-0.08, 0.08, 0.0, 5.3 if arm else top + 0.4, 0.0), steel)
        _box(b, 0.0, top, phase)
        if arm:
            b.add(face(min(0.0, arm), max(0.0, arm), 5.15, 5.28, 0.0), steel)
            _box(b, arm, 4.7, phase)
        meshes.append(b.build())
    return tuple(meshes)


def _box(b: Builder, x: float, y: float, phase: int) -> None:
    slot = b.slot(TRAFFIC_LIGHT, 0.02)
    b.add(face(x - 0.26, x + 0.26, y - 0.66, y + 0.66, 0.0), (28, 30, 30), slot)
    colours: tuple[Colour, ...] = ((255, 40, 30), (40, 240, 120), (255, 180, 30))
    for lamp, dy in zip((0, 2, 1), (0.42, 0.0, -0.42), strict=True):
        ring = disc(x, y + dy, 0.0, 0.17, 0.17, 8)
        if lamp == phase:
            b.add(ring, colours[lamp], b.slot(TRAFFIC_LIGHT, 0.0, colours[lamp]))
        else:
            b.detail(ring, tuple(c // 4 for c in colours[lamp]), 30.0)


def _triangle(y: float, size: float) -> list[tuple[float, float, float]]:
    return [(-size, y - 0.6 * size, 0), (size, y - 0.6 * size, 0), (0, y + 1.1 * size, 0)]


def _steel(rng: np.random.Generator) -> Colour:
    return _STEEL[int(rng.integers(len(_STEEL)))]
