"""What is seen on an image: a label and its probability for every pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.fit import How, cut, fit, nearest

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Seen:
    """labels (H,W) class indices, probability (H,W) of each pixel's label, 0..1."""

    labels: NDArray[Any]
    probability: NDArray[np.float32]


Predict = Callable[[Image, tuple[int, int]], Seen]


def served(engine: Engine, bundle: Bundle, how: How = "squash") -> Predict:
    """RGB (h,w,3) and a size (H,W) -> what the engine serves, brought to that size (nearest)."""

    def predict(image: Image, size: tuple[int, int]) -> Seen:
        maps = engine.infer_map(fit(image, engine.info.size, how), bundle)
        labels, probability = (cut(one, image.shape[:2], how) for one in maps)
        return Seen(nearest(labels, size), nearest(probability, size))

    return predict
