"""Everything that lies flat: terrain, pavements, asphalt and its markings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acclimate.world.classes import GRASS, PAVEMENT, ROAD, SOIL
from acclimate.world.mesh import Builder, Mesh, flat, tint
from acclimate.world.theme import Theme

FAR_END = 240.0
_PAINT = (214, 212, 204)


def terrain(theme: Theme) -> Mesh:
    """Grass to the horizon, placed at the camera."""
    plain = flat(-900.0, 900.0, 0.0, 2000.0)
    return Builder(GRASS, 0.16).add(plain, theme.grass).build()


def street(theme: Theme, verge_label: int) -> Mesh:
    """The continuous strips, placed at the camera."""
    b = Builder(PAVEMENT, 0.07)
    road = b.slot(ROAD, 0.07)
    verge_colour = theme.grass if verge_label == GRASS else theme.soil
    verge = b.slot(verge_label, 0.16)
    for s in (-1, 1):
        kerb = theme.road + 0.28
        b.add(_strip(s * theme.road, s * theme.edge), theme.paving)
        if theme.verge:
            b.add(_strip(s * kerb, s * (theme.road + theme.verge)), tint(verge_colour, 0.95), verge)
        b.detail(_strip(s * theme.road, s * kerb), theme.kerb, 1e9)
        b.detail(_strip(s * (theme.edge - 0.15), s * theme.edge), tint(theme.paving, 0.82), 1e9)
    b.add(_strip(-theme.road, theme.road), theme.asphalt, road)
    for s in (-1, 1):
        b.detail(_strip(s * (theme.road - 0.3), s * theme.road), tint(theme.asphalt, 0.86), 1e9)
    return b.build()


def patch(theme: Theme, rng: np.random.Generator, side: int, length: float) -> Mesh:
    """A bare field or an overgrown spot beside the street, about `length` long."""
    start = theme.edge + (0.0 if rng.random() < 0.6 else rng.uniform(0.5, 3.0))
    stop = start + rng.choice([3.0, 8.0, 40.0]) * rng.uniform(0.7, 1.3)
    z = np.linspace(0.0, length * rng.uniform(0.7, 1.3), 6)
    rough = rng.uniform(-0.6, 0.6, 6) if start > theme.edge else np.zeros(6)
    inner = np.stack([side * (start + rough), 0 * z, z], axis=1)
    outer = np.stack([side * (stop + rng.uniform(-0.1, 0.1, 6) * stop), 0 * z, z], axis=1)
    colour = tint(theme.soil, rng.uniform(0.85, 1.12))
    return Builder(SOIL, 0.2).add(np.concatenate([inner, outer[::-1]]), colour).build()


def markings(theme: Theme, rng: np.random.Generator, length: float, solid: bool) -> Mesh:
    """Lane lines and repairs of one stretch of road."""
    b = Builder(ROAD, 0.07)
    if rng.random() < 0.35:
        x, z = rng.uniform(-0.8, 0.8) * theme.road, rng.uniform(0.0, length)
        wide, long = rng.uniform(0.5, 1.4), rng.uniform(1.0, 4.0)
        b.add(flat(x - wide, x + wide, z, z + long), tint(theme.asphalt, rng.uniform(0.78, 1.1)))
    if rng.random() < 0.15:
        x, z = rng.uniform(-0.6, 0.6) * theme.road, rng.uniform(0.0, length - 1.0)
        b.add(flat(x - 0.35, x + 0.35, z, z + 0.7), tint(theme.asphalt, 0.6))
    dash = length if solid else 0.5 * length
    b.add(flat(-0.08, 0.08, 0.0, dash), _PAINT)
    edge = theme.road - theme.parking - (0.0 if theme.parking else 0.3)
    if theme.parking:
        b.add([flat(s * edge - 0.06, s * edge + 0.06, 0.0, 0.8 * length) for s in (-1, 1)], _PAINT)
    elif theme.urban < 0.7:
        b.add([flat(s * edge - 0.06, s * edge + 0.06, 0.0, length) for s in (-1, 1)], _PAINT)
    return b.build()


def crossing(theme: Theme, length: float) -> Mesh:
    """A side street with a zebra crossing in front of it."""
    b = Builder(ROAD, 0.07)
    b.add(flat(-90.0, 90.0, 4.5, length - 0.5), theme.asphalt)
    bars = np.arange(-theme.road + 0.4, theme.road - 0.6, 1.1)
    b.add(flat(-theme.road, theme.road, 0.0, 5.0), theme.asphalt)
    b.add([flat(x, x + 0.55, 1.0, 4.0) for x in bars], _PAINT)
    b.add(flat(0.1, theme.road - 0.2, 0.1, 0.45), _PAINT)
    return b.build()


def _strip(x0: float, x1: float) -> NDArray[np.float32]:
    """A band along the whole visible road, cut finely enough to bend with it."""
    z = np.concatenate(([0.5], np.geomspace(2.0, FAR_END, 24)))
    left, right = np.full_like(z, x0), np.full_like(z, x1)
    near = np.stack([left, 0 * z, z], axis=1)
    far = np.stack([right, 0 * z, z], axis=1)
    return np.concatenate([near, far[::-1]]).astype(np.float32)
