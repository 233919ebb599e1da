"""Trees, bushes and the line of woods on the horizon."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acclimate.world.classes import BUSH, TREE
from acclimate.world.mesh import Builder, Colour, Mesh, disc, tint


def tree(rng: np.random.Generator, leaves: Colour) -> Mesh:
    """A broad-leaved tree, a poplar or a conifer."""
    kind = rng.random()
    leaves = _vary(rng, leaves)
    h = rng.uniform(4.5, 9.5)
    trunk = tint((104, 80, 58), rng.uniform(0.6, 1.2))
    b = Builder(TREE, 0.2)
    if kind < 0.22:
        _conifer(b, rng, h, tint(leaves, 0.7), trunk)
    else:
        _crown(b, rng, h, leaves, trunk, 0.62 if kind > 0.35 else 0.3)
    return b.shade(0.5, 0.3, 0.25 * h, 0.2 * h).build()


def bush(rng: np.random.Generator, leaves: Colour) -> Mesh:
    """One to three low blobs, sometimes in flower."""
    leaves = tint(_vary(rng, leaves), 0.86)
    b = Builder(BUSH, 0.18)
    width, height = rng.uniform(0.8, 1.8), rng.uniform(0.9, 1.9)
    for x in rng.uniform(-0.6, 0.6, int(rng.integers(1, 4))) * width:
        rx, ry = rng.uniform(0.6, 1.0) * width, rng.uniform(0.6, 1.0) * height
        blob = _blob(rng, x, 0.45 * ry, rx, 0.62 * ry)
        blob[:, 1] = np.maximum(blob[:, 1], 0.0)
        b.add(blob, leaves)
        b.detail(_blob(rng, x - 0.15 * rx, 0.65 * ry, 0.6 * rx, 0.3 * ry), tint(leaves, 1.2))
    if rng.random() < 0.3:
        flower = rng.integers(120, 255, 3).tolist()
        spots = rng.uniform((-0.8 * width, 0.2 * height), (0.8 * width, 0.8 * height), (7, 2))
        b.detail([disc(x, y, 0.0, 0.07, 0.07, 6) for x, y in spots], flower, 25.0)
    return b.shade(0.2, 0.0, 1.2 * width, 0.5).build()


def woods(rng: np.random.Generator, leaves: Colour, distance: float, height: float) -> Mesh:
    """A ragged belt of trees across the whole view at the given distance in metres."""
    xs = np.linspace(-2.0 * distance, 2.0 * distance, 160)
    ys = height * (0.6 + 0.25 * rng.standard_normal(len(xs)).cumsum() / 6.0)
    ys = np.clip(ys + rng.uniform(-0.2, 0.2, len(xs)) * height, 0.25 * height, 1.3 * height)
    ends = [(xs[-1], -1.0, 0.0), (xs[0], -1.0, 0.0)]
    outline = [(x, y, 0.0) for x, y in zip(xs, ys, strict=True)] + ends
    return Builder(TREE, 0.1).add(outline, tint(leaves, 0.8)).build()


def _crown(
    b: Builder, rng: np.random.Generator, h: float, leaves: Colour, trunk: Colour, spread: float
) -> None:
    w = 0.022 * h + 0.05
    b.add([(-w, 0, 0), (w, 0, 0), (0.6 * w, 0.6 * h, 0), (-0.6 * w, 0.6 * h, 0)], trunk)
    radius = spread * 0.5 * h
    for _ in range(4):
        x, y = rng.uniform(-0.45, 0.45) * radius, h * rng.uniform(0.52, 0.8)
        size = rng.uniform(0.55, 0.85)
        blob = _blob(rng, x, y, size * radius, size * 0.34 * h)
        b.add(blob, tint(leaves, rng.uniform(0.7, 0.95)))
    for _ in range(3):
        x, y = rng.uniform(-0.6, 0.3) * radius, h * rng.uniform(0.65, 0.9)
        blob = _blob(rng, x, y, 0.35 * radius, 0.1 * h)
        b.detail(blob, tint(leaves, rng.uniform(1.05, 1.3)), 60.0)


def _conifer(b: Builder, rng: np.random.Generator, h: float, leaves: Colour, trunk: Colour) -> None:
    b.add([(-0.12, 0, 0), (0.12, 0, 0), (0.1, 0.3 * h, 0), (-0.1, 0.3 * h, 0)], trunk)
    width = h * rng.uniform(0.17, 0.26)
    for k in range(4):
        y, w = h * (0.14 + 0.2 * k), width * (1.0 - 0.22 * k)
        b.add([(-w, y, 0), (w, y, 0), (0.05, y + 0.34 * h, 0)], tint(leaves, 0.85 + 0.08 * k))
        b.detail([(-w, y, 0), (-0.2 * w, y, 0), (0, y + 0.33 * h, 0)], tint(leaves, 1.15), 50.0)


def _blob(
    rng: np.random.Generator, x: float, y: float, rx: float, ry: float
) -> NDArray[np.float32]:
    ring = disc(0.0, 0.0, 0.0, rx, ry, 16, rng.uniform(0.0, 6.0))
    ring *= rng.uniform(0.82, 1.12, (16, 1)).astype(np.float32)
    return (ring + np.array([x, y, 0.0], np.float32)).astype(np.float32)


def _vary(rng: np.random.Generator, colour: Colour) -> Colour:
    return tint([c * g for c, g in zip(colour, rng.uniform(0.82, 1.18, 3), strict=True)])
