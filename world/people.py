"""People and cyclists, as seen from in front or behind, in a few phases of movement."""

from __future__ import annotations

import numpy as np

from acclimate.world.classes import CYCLIST, PERSON
from acclimate.world.mesh import Builder, Colour, Mesh, disc, face, side, tint, wheel

PHASES = 4
_SKIN: tuple[Colour, ...] = ((232, 190, 160), (200, 150, 116), (140, 96, 70), (96, 64, 48))
_HAIR: tuple[Colour, ...] = ((34, 26, 22), (90, 60, 36), (190, 150, 90), (150, 150, 150))


def person(rng: np.random.Generator) -> tuple[Mesh, ...]:
    """The phases of one walking person, 1.5 to 1.95 m tall."""
    h = rng.uniform(1.5, 1.95)
    coat, trousers = _clothes(rng), tint(_clothes(rng), 0.6)
    skin, hair = _pick(rng, _SKIN), _pick(rng, _HAIR)
    skirt, bag, away = rng.random() < 0.25, rng.random() < 0.35, rng.random() < 0.5
    girth = h * rng.uniform(0.115, 0.15)
    swings = np.sin(2.0 * np.pi * np.arange(PHASES) / PHASES)
    meshes = []
    for swing in swings:
        b = Builder(PERSON, 0.06).shade(0.0, 0.0, 0.38, 0.3)
        step = 0.1 * swing * h
        for s in (-1, 1):
            foot = s * 0.05 * h + s * step * 0.6
            leg = [
                (s * 0.1 * h, 0.5 * h),
                (s * 0.005 * h, 0.5 * h),
                (foot - 0.03 * h, 0.0),
                (foot + 0.05 * h, 0.0),
            ]
            b.add(_front(leg), tint(trousers, 1.0 if s > 0 else 0.8))
            hand = s * (1.25 * girth) - step * 0.5
            arm = [
                (s * girth * 0.7, 0.81 * h),
                (s * girth * 1.15, 0.79 * h),
                (hand + 0.025 * h, 0.44 * h),
                (hand - 0.025 * h, 0.44 * h),
            ]
            b.add(_front(arm), tint(coat, 0.8))
        hem = 0.36 * h if skirt else 0.47 * h
        torso = [
            (-0.8 * girth, hem),
            (0.8 * girth, hem),
            (girth, 0.78 * h),
            (0.4 * girth, 0.84 * h),
            (-0.4 * girth, 0.84 * h),
            (-girth, 0.78 * h),
        ]
        b.add(_front(torso), coat)
        b.detail(
            _front([(0, hem), (girth * 0.8, hem), (girth, 0.78 * h), (0, 0.83 * h)]),
            tint(coat, 0.86),
            25.0,
        )
        if bag:
            b.detail(face(-0.6 * girth, 0.6 * girth, 0.55 * h, 0.76 * h, 0.0), tint(trousers, 1.2))
        b.add(disc(0.0, 0.915 * h, 0.0, 0.062 * h, 0.085 * h, 10), hair if away else skin)
        if not away:
            b.detail(disc(0.0, 0.955 * h, 0.0, 0.058 * h, 0.04 * h, 8), hair, 25.0)
        meshes.append(b.build())
    return tuple(meshes)


def cyclist(rng: np.random.Generator, oncoming: bool) -> tuple[Mesh, ...]:
    """A rider on a bicycle; both have the one label."""
    shirt, shorts = _clothes(rng), tint(_clothes(rng), 0.5)
    skin, helmet, frame = _pick(rng, _SKIN), _clothes(rng), _clothes(rng)
    meshes = []
    for swing in np.sin(2.0 * np.pi * np.arange(PHASES) / PHASES):
        b = Builder(CYCLIST, 0.05).shade(0.0, 0.8, 0.35, 1.0)
        for z in (1.4, 0.35):
            b.add(wheel(0.0, 0.34, z, 0.34, 14), (40, 40, 42))
            b.detail(wheel(0.0, 0.34, z, 0.26, 12), (120, 120, 118), 25.0)
            b.add(face(-0.035, 0.035, 0.0, 0.7, z), (30, 30, 32))
        b.add(
            side(
                0.0, [(0.4, 0.36), (0.6, 0.92), (1.2, 0.9), (1.35, 0.4), (1.15, 0.8), (0.75, 0.75)]
            ),
            frame,
        )
        for s in (-1, 1):
            pedal = 0.3 + 0.14 * s * swing
            leg = [(s * 0.02, 1.0), (s * 0.19, 1.0), (s * 0.2, pedal), (s * 0.08, pedal)]
            b.add(_front(leg, 0.6), shorts)
            b.detail(
                _front([(s * 0.09, 0.6), (s * 0.2, 0.6), (s * 0.2, pedal), (s * 0.08, pedal)], 0.6),
                skin,
            )
            b.add(
                _front([(s * 0.18, 1.5), (s * 0.25, 1.4), (s * 0.34, 1.02), (s * 0.26, 1.02)], 0.7),
                tint(shirt, 0.8),
            )
        b.add(
            _front(
                [(-0.2, 0.92), (0.2, 0.92), (0.25, 1.48), (0.1, 1.56), (-0.1, 1.56), (-0.25, 1.48)],
                0.6,
            ),
            shirt,
        )
        b.add(disc(0.0, 1.68, 0.6, 0.11, 0.14, 10), skin)
        b.add(disc(0.0, 1.75, 0.6, 0.13, 0.09, 8), helmet)
        lamp = b.slot(CYCLIST, emission=(230, 230, 210) if oncoming else (255, 30, 20))
        colour = (240, 240, 220) if oncoming else (210, 30, 26)
        b.add(disc(0.0, 0.82, 0.3, 0.07, 0.06, 6), colour, lamp, 60.0)
        meshes.append(b.build())
    return tuple(meshes)


def _front(outline: list[tuple[float, float]], z: float = 0.0) -> list[tuple[float, float, float]]:
    return [(x, y, z) for x, y in outline]


def _clothes(rng: np.random.Generator) -> Colour:
    bright, vivid = rng.uniform(50.0, 200.0), rng.uniform(0.1, 0.8)
    return tint((bright + vivid * rng.uniform(-90.0, 90.0, 3)).tolist())


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]
