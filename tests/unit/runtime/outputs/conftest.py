"""Results to hand over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from acclimate.configs.vocabulary import load_vocabulary
from acclimate.runtime.outputs.side import Shown
from acclimate.runtime.source import Captured
from acclimate.world import Drive

WORDS = load_vocabulary("world")


@pytest.fixture
def shown() -> Callable[..., Shown]:
    """A result: the camera's nth frame, its labels n everywhere but in the upper half."""

    def one(number: int, camera: str = "front", size: tuple[int, int] = (32, 40)) -> Shown:
        labels = np.zeros(size, np.uint8)
        labels[size[0] // 2 :] = number % len(WORDS.classes)
        image = np.ascontiguousarray(Drive(1).frame(number)[0][: size[0], : size[1]])
        return Shown(camera, Captured(number, 12.5, number / 5, image), labels, "a0007", WORDS)

    return one
