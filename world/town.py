"""What stands beside the road, made cell by cell from the seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from acclimate.world import ground, houses, people, plants, street, vehicles
from acclimate.world.mesh import Mesh
from acclimate.world.theme import Theme

CELL = 8.0  # m along the road
CROSSING_EVERY = 9  # cells


@dataclass(frozen=True)
class Thing:
    """Meshes are phases that follow each other at `rate` per second; x, z in metres."""

    meshes: tuple[Mesh, ...]
    x: float
    z: float
    rate: float = 0.0

    def mesh(self, seconds: float) -> Mesh:
        return self.meshes[int(seconds * self.rate + 1e-6) % len(self.meshes)]


@dataclass(frozen=True)
class Cell:
    """Lying things below the street, lying things on it, buildings, and all the rest."""

    patches: tuple[Thing, ...]
    markings: tuple[Thing, ...]
    houses: tuple[Thing, ...]
    things: tuple[Thing, ...]


def cell_rng(seed: int, stream: int, cell: int) -> np.random.Generator:
    """The same numbers for the same place, wherever a drive starts."""
    return np.random.default_rng((seed, stream, cell & 0xFFFFFFFF))


class Town:
    """The fixed surroundings of one drive."""

    def __init__(self, seed: int, theme: Theme) -> None:
        self._seed = seed
        self._theme = theme
        self._phase = float(cell_rng(seed, 1, 0).uniform(0.0, 6.0))
        self._first = int(cell_rng(seed, 2, 0).integers(CROSSING_EVERY))
        self.cell = lru_cache(maxsize=64)(self._make)

    def _make(self, index: int) -> Cell:
        theme, rng = self._theme, cell_rng(self._seed, 3, index)
        z = index * CELL
        crossing = (index - self._first) % CROSSING_EVERY == 0
        before = (index + 1 - self._first) % CROSSING_EVERY == 0
        if crossing:
            mark = ground.crossing(theme, CELL)
        else:
            mark = ground.markings(theme, rng, CELL, before)
        urban = float(np.clip(theme.urban + 0.3 * np.sin(z / 90.0 + self._phase), 0.0, 1.0))
        patches: list[Thing] = []
        built: list[Thing] = []
        things: list[Thing] = []
        for side in (-1, 1):
            if rng.random() < 0.6:
                shape = ground.patch(theme, rng, side, CELL)
                patches.append(Thing((shape,), 0.0, z))
            if crossing:
                self._furnish_crossing(rng, side, z, things)
            else:
                self._build(rng, side, z, urban, built)
                self._furnish(rng, side, z, urban, things)
        return Cell(tuple(patches), (Thing((mark,), 0.0, z),), tuple(built), tuple(things))

    def _build(
        self, rng: np.random.Generator, side: int, z: float, urban: float, out: list[Thing]
    ) -> None:
        if rng.random() < 0.06 + 0.86 * urban:
            gap = 0.0 if rng.random() < urban - 0.2 else rng.uniform(0.5, 2.5)
            x = self._theme.edge + self._theme.setback + rng.uniform(0.0, 2.0) * (1.0 - urban)
            mesh = houses.building(rng, side, CELL - gap, urban)
            out.append(Thing((mesh,), side * x, z + 0.5 * gap))

    def _furnish(
        self, rng: np.random.Generator, side: int, z: float, urban: float, out: list[Thing]
    ) -> None:
        theme = self._theme

        def put(mesh: Mesh, x: float) -> None:
            out.append(Thing((mesh,), side * x, z + rng.uniform(0.0, CELL)))

        curb, edge = theme.road + 0.45, theme.edge
        if rng.random() < 0.3:
            put(street.lamp_post(rng, -side), curb)
        if rng.random() < 0.16:
            put(street.post(rng), curb if rng.random() < 0.5 else edge)
        if rng.random() < 0.26:
            put(street.sign(rng), curb + rng.uniform(0.0, 0.4))
        for _ in range(int(rng.poisson(1.6 - 1.1 * urban))):
            spread = rng.uniform(0.4, 4.0 + 14.0 * (1.0 - urban))
            put(plants.tree(rng, theme.leaves), edge + spread)
        if theme.verge and rng.random() < 0.4:
            put(plants.tree(rng, theme.leaves), theme.road + 0.6 * theme.verge)
        for _ in range(int(rng.poisson(1.1))):
            put(plants.bush(rng, theme.leaves), edge + rng.uniform(0.3, 0.8 + 0.6 * theme.setback))
        if rng.random() < 0.3:
            meshes = people.person(rng)[:1]
            put(meshes[0], rng.uniform(curb, edge))
        if theme.parking and rng.random() < 0.55:
            self._park(rng, side, z, out)

    def _park(self, rng: np.random.Generator, side: int, z: float, out: list[Thing]) -> None:
        kind = vehicles.truck if rng.random() < 0.12 else vehicles.car
        x = side * (self._theme.road - 1.0)
        out.append(Thing((kind(rng, side < 0, (-side,)),), x, z + rng.uniform(0.0, 2.0)))

    def _furnish_crossing(
        self, rng: np.random.Generator, side: int, z: float, out: list[Thing]
    ) -> None:
        x = side * (self._theme.road + 0.4)
        if side > 0 or rng.random() < 0.7:
            lights = street.traffic_light(rng, -side)
            out.append(Thing(lights, x, z + 0.3, 0.2))
        for _ in range(int(rng.integers(0, 3))):
            out.append(Thing(people.person(rng)[:1], x + side * rng.uniform(0.2, 1.2), z + 2.5))
