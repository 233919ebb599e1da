"""What is seen on an image: a label and its probability for every pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.evaluate import fit, nearest

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Seen:
    """labels (H,W) class indices, probability (H,W) of each pixel's label, 0..1."""

    labels: NDArray[Any]
    probability: NDArray[np.float32]


Predict = Callable[[Image, tuple[int, int]], Seen]


def served(engine: Engine, bundle: Bundle) -> Predict:
    """RGB (h,w,3) and a size (H,W) -> what the engine serves, brought to that size (nearest)."""

    def predict(image: Image, size: tuple[int, int]) -> Seen:
        labels, probability = engine.infer_map(fit(image, engine.info.size), bundle)
        return Seen(nearest(labels, size), nearest(probability, size))

    return predict
