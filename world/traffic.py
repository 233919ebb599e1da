"""Streams of vehicles, cyclists and walkers, each moving with its lane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from acclimate.world import people, vehicles
from acclimate.world.canvas import Placed
from acclimate.world.mesh import Mesh
from acclimate.world.theme import Theme
from acclimate.world.town import Thing, cell_rng

Maker = Callable[[np.random.Generator, float], tuple[Mesh, ...]]


_GOLDEN = 0.6180339887


@dataclass(frozen=True)
class Lane:
    """One thing in each `spacing` metres with the given probability, at `speed` m/s."""

    make: Maker
    x: float
    wander: float  # m, spread across
    speed: float
    spacing: float
    chance: float
    rate: float = 0.0  # phases per second
    overtakes: bool = False


class Traffic:
    """Everything that moves along the road; positions depend on time alone."""

    def __init__(self, seed: int, theme: Theme) -> None:
        self._seed = seed
        self._lanes = _lanes(theme)
        self._thing = lru_cache(maxsize=512)(self._make)

    def visible(self, seconds: float, camera_z: float, near: float, far: float) -> list[Placed]:
        """What is between near and far metres ahead of the camera."""
        placed = []
        for number, lane in enumerate(self._lanes):
            origin = camera_z - lane.speed * seconds
            first = int(np.floor((origin + near) / lane.spacing))
            last = int(np.floor((origin + far) / lane.spacing))
            for cell in range(first, last + 1):
                thing = self._thing(number, cell)
                if thing is not None:
                    z = thing.z - origin
                    x = thing.x - _overtaking(z) if lane.overtakes else thing.x
                    placed.append(Placed(thing.mesh(seconds), x, z))
        return placed

    def _make(self, number: int, cell: int) -> Thing | None:
        lane, rng = self._lanes[number], cell_rng(self._seed, 10 + number, cell)
        if rng.random() > lane.chance:
            return None
        x = lane.x + rng.uniform(-lane.wander, lane.wander)
        z = (cell + rng.uniform(0.0, 0.35)) * lane.spacing
        # Neighbours draw from evenly spread numbers, so that no kind stays away for long.
        turn = (cell * _GOLDEN + float(cell_rng(self._seed, 9, number).random())) % 1.0
        return Thing(lane.make(rng, turn), x, z, lane.rate)


def _overtaking(z: float) -> float:
    """How far left (m) a faster vehicle still is, z metres ahead of the camera."""
    t = float(np.clip((z - 7.0) / 14.0, 0.0, 1.0))
    return 3.5 * (1.0 - t * t * (3.0 - 2.0 * t))


def _lanes(theme: Theme) -> tuple[Lane, ...]:
    def oncoming(rng: np.random.Generator, turn: float) -> tuple[Mesh, ...]:
        return (_vehicle(rng, turn, True, (1,)),)

    def ahead(rng: np.random.Generator, turn: float) -> tuple[Mesh, ...]:
        return (_vehicle(rng, turn, False, (-1, 1)),)

    def walker(rng: np.random.Generator, _: float) -> tuple[Mesh, ...]:
        return people.person(rng)

    def rider(rng: np.random.Generator, _: float) -> tuple[Mesh, ...]:
        return people.cyclist(rng, False)

    def rider_back(rng: np.random.Generator, _: float) -> tuple[Mesh, ...]:
        return people.cyclist(rng, True)

    v, walk = theme.speed, theme.road + theme.verge + 0.5 * theme.pavement
    rim = theme.road - theme.parking - 0.55
    across = 0.35 * theme.pavement
    return (
        Lane(ahead, theme.lane, 0.1, v + 2.0, 42.0, 0.75, overtakes=True),
        Lane(oncoming, -theme.lane - 0.1, 0.15, -0.9 * v, 20.0, 0.75),
        Lane(rider, rim, 0.2, 0.5 * v, 24.0, 0.6, 6.0),
        Lane(rider_back, -rim, 0.15, -0.55 * v, 36.0, 0.55, 6.0),
        Lane(walker, walk, across, 1.3, 9.0, 0.45, 7.0),
        Lane(walker, -walk, across, -1.2, 9.0, 0.5, 7.0),
        Lane(walker, walk, across, -1.1, 17.0, 0.5, 7.0),
        Lane(rider_back, walk, 0.3, -3.4, 70.0, 0.6, 6.0),
    )


def _vehicle(rng: np.random.Generator, turn: float, oncoming: bool, sides: tuple[int, ...]) -> Mesh:
    if turn < 0.54:
        return vehicles.car(rng, oncoming, sides)
    if turn < 0.77:
        return vehicles.truck(rng, oncoming, sides)
    return vehicles.bus(rng, oncoming, sides)
