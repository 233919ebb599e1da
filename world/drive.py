"""A drive: frames by index, each with its labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acclimate.world import ground, plants, sky, weather
from acclimate.world.camera import NEAR, Camera
from acclimate.world.canvas import Canvas, Placed
from acclimate.world.classes import GRASS, SKY, SOIL
from acclimate.world.mesh import Slot
from acclimate.world.shift import Shift
from acclimate.world.theme import make_theme
from acclimate.world.town import CELL, Town, cell_rng
from acclimate.world.traffic import Traffic
from acclimate.world.view import View, cover_with_hood, develop

SIGHT = 130.0  # m; nothing beyond but woods and sky
_CLEAN = Shift()


class Drive:
    """A stream of labelled frames, the same for the same seed, in any order of indices."""

    def __init__(
        self,
        seed: int,
        size: tuple[int, int] = (160, 224),
        hood: bool = False,
        fps: float = 10.0,
    ) -> None:
        self.seed = seed
        self.size = size
        self.hood = hood
        self.fps = fps
        rng = cell_rng(seed, 0, 0)
        self._theme = make_theme(rng)
        self._phases = rng.uniform(0.0, 2.0 * np.pi, 4)
        self._bend = rng.uniform(0.0004, 0.0032)
        self._start = float(rng.uniform(0.0, 500.0))
        self._town = Town(seed, self._theme)
        self._traffic = Traffic(seed, self._theme)
        height, width = (2 * s for s in size)
        self._sky = sky.panorama(self._theme, seed, int(height * self._theme.horizon), width)
        verge = GRASS if rng.random() < 0.5 else SOIL
        self._terrain = Placed(ground.terrain(self._theme), 0.0, 0.0)
        self._street = Placed(ground.street(self._theme, verge), 0.0, 0.0)
        tall = float(rng.uniform(7.0, 18.0))
        self._woods = Placed(plants.woods(rng, self._theme.leaves, 190.0, tall), 0.0, 190.0)

    def frame(
        self, index: int, shift: Shift = _CLEAN
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(H, W, 3) uint8 RGB image and (H, W) uint8 labels; the labels ignore the shift."""
        view = self.view(index)
        return weather.apply(view, shift, self.seed, index), view.labels

    def view(self, index: int) -> View:
        """The clean frame with its depth and lights."""
        seconds = index / self.fps
        z = self._start + self._theme.speed * seconds
        canvas = Canvas(*self._backdrop(seconds, z))
        lying, standing = self._surroundings(seconds, z)
        canvas.paint(lying)
        canvas.cast(standing)
        canvas.paint(standing)
        view = develop(canvas, self._theme, z)
        return cover_with_hood(view) if self.hood else view

    def _backdrop(self, seconds: float, z: float) -> tuple[Camera, NDArray[np.uint8], Slot]:
        theme, (height, width) = self._theme, self.size
        a, b, c, d = self._phases
        bend = self._bend * (np.sin(z / 70.0 + a) + 0.5 * np.sin(z / 31.0 + b))
        bob = 0.0022 * np.sin(3.1 * seconds + c) + 0.0013 * np.sin(7.3 * seconds + d)
        horizon = height * (theme.horizon + bob)
        lateral = theme.lane + 0.15 * np.sin(0.5 * seconds + a)
        focal = theme.focal * max(width, 1.3 * height)
        camera = Camera(self.size, focal, theme.eye, float(lateral), float(horizon), float(bend))
        top = round(self._sky.shape[0] - sky.MARGIN - 2 * horizon)
        left = round(sky.MARGIN * (1.0 + 0.9 * np.sin(z / 140.0 + b)))
        image = np.zeros((2 * height, 2 * width, 3), np.uint8)
        piece = self._sky[max(top, 0) :][: 2 * height, left : left + 2 * width]
        image[: len(piece)] = piece
        return camera, image, Slot(SKY, 0.0)

    def _surroundings(self, seconds: float, z: float) -> tuple[list[Placed], list[Placed]]:
        """What lies on the ground and what stands on it, each in painting order."""
        cells = [
            self._town.cell(k)
            for k in range(int((z + SIGHT) // CELL), int((z - 12.0) // CELL) - 1, -1)
        ]

        def place(name: str) -> list[Placed]:
            return [
                Placed(thing.mesh(seconds), thing.x, thing.z - z)
                for cell in cells
                for thing in getattr(cell, name)
            ]

        lying = [self._terrain, *place("patches"), self._street, *place("markings")]
        standing = place("things") + self._traffic.visible(seconds, z, -14.0, SIGHT)
        # A building is sorted by its far end: everything beside it is nearer to the camera's axis.
        ordered = [(p.z, p) for p in standing if p.z + p.mesh.depth > NEAR]
        ordered += [(p.z + p.mesh.depth, p) for p in place("houses")]
        ordered.sort(key=lambda pair: -pair[0])
        return lying, [self._woods] + [p for _, p in ordered]
