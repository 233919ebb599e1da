"""Strong photometric augmentation for training a base: looks that no one has to render.

Generic changes of light, lens and sensor; none is a copy of the procedural world's own weather.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
LIGHT_CELLS = (3, 4)


def distort(image: Image, rng: np.random.Generator, chance: float = 0.5) -> Image:
    """image (H,W,3) RGB 0..255 -> the same seen otherwise, 0..255; each change by `chance`."""
    for change in (_gamma, _light, _channels, _contrast, _grey, _veil, _blur, _noise):
        if rng.random() < chance:
            image = np.clip(change(image, rng), 0, 255).astype(np.float32)
    return image


def _gamma(image: Image, rng: np.random.Generator) -> NDArray[np.floating]:
    """Exposure and tone curve: darker more often than brighter."""
    return 255 * (image / 255) ** np.exp(rng.uniform(np.log(0.6), np.log(3.5)))


def _light(image: Image, rng: np.random.Generator) -> NDArray[np.floating]:
    """Light and shade that change slowly over the picture."""
    cells = rng.uniform(0.3, 1.3, LIGHT_CELLS).astype(np.float32)
    field = cv2.resize(cells, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return image * field.clip(0.1)[..., None]


def _channels(image: Image, rng: np.random.Generator) -> NDArray[np.floating]:
    """The colour of the light."""
    return image * np.exp(rng.normal(0, 0.2, 3))


def _contrast(image: Image, rng: np.random.Generator) -> NDArray[np.floating]:
    mean = image.mean()
    return (image - mean) * rng.uniform(0.4, 1.5) + mean


def _grey(image: Image, rng: np.random.Generator) -> NDArray[np.floating]:
    """Less colour, down to none."""
    grey = image.mean(2, keepdims=True)
    return grey + (image - grey) * rng.uniform(0, 1)


def _veil(image: Image, rng: np.random.Generator) -> NDArray[np.floating]:
    """A haze of one colour over everything."""
    strength = rng.uniform(0, 0.6)
    return (1 - strength) * image + strength * rng.uniform(90, 230, 3)


def _blur(image: Image, rng: np.random.Generator) -> NDArray[np.floating]:
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.5))


def _noise(image: Image, rng: np.random.Generator) -> NDArray[np.floating]:
    """The sensor's: it grows in the dark as the gain does."""
    return image + rng.normal(0, rng.uniform(2, 20), image.shape)
