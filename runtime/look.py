"""What a picture shows before any network looks at it: does the camera see, does it move?"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.configs.drift import DriftConfig

Image = NDArray[np.uint8]
Grey = NDArray[np.float32]
SMALL = (28, 20)  # width, height: each pixel averages away the sensor's noise
UNDER_WAY = 3  # looks in a row with change: exposure and clouds change one picture, driving all


@dataclass(frozen=True)
class Look:
    """In grey levels, 0..255: mean `light`, `contrast` (standard deviation over the picture) and
    mean `change` since the look before, None for the first."""

    light: float
    contrast: float
    change: float | None


def small(image: Image) -> Grey:
    """RGB (H,W,3) -> grey (20,28)."""
    shrunk = cv2.resize(image, SMALL, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(shrunk, cv2.COLOR_RGB2GRAY), np.float32)


def look(now: Grey, before: Grey | None) -> Look:
    """Of a `small` picture and the one some time before it."""
    change = None if before is None else float(np.abs(now - before).mean())
    return Look(float(now.mean()), float(now.std()), change)


def blinded(seen: Look, config: DriftConfig) -> bool:
    """Dark or flat, as with a hood, mud or the sun on the lens."""
    return seen.light < config.min_light or seen.contrast < config.min_contrast


class Motion:
    """`parked` from a look without change until UNDER_WAY in a row show some."""

    def __init__(self, min_change: float) -> None:
        self._least, self._moving = min_change, UNDER_WAY

    def heed(self, change: float | None) -> bool:
        """The next look's change; returns `parked`."""
        if change is not None:
            self._moving = self._moving + 1 if change >= self._least else 0
        return self.parked

    @property
    def parked(self) -> bool:
        """Do pictures stay the same?"""
        return self._least > 0 and self._moving < UNDER_WAY
