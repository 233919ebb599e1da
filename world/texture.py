"""Tileable noise, made once per process."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 256  # texels; a power of two, so that wrapping is a bit mask


@cache
def fractal(seed: int, power: float) -> NDArray[np.float32]:
    """(SIDE, SIDE) tileable noise of zero mean and unit spread, limited to +-2.5.

    The amplitude falls with frequency to the given power: 0 is white, 1.5 is cloudy.
    """
    white = np.random.default_rng(seed).standard_normal((SIDE, SIDE))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    frequency[0, 0] = np.inf
    noise = np.fft.ifft2(np.fft.fft2(white) / frequency**power).real
    return np.asarray(np.clip(noise / noise.std(), -2.5, 2.5), np.float32)


def sample(texture: NDArray[np.float32], u: NDArray[Any], v: NDArray[Any]) -> NDArray[np.float32]:
    """Nearest texels at wrapped coordinates u (columns) and v (rows), in texels."""
    columns = u.astype(np.int32) & (SIDE - 1)
    rows = v.astype(np.int32) & (SIDE - 1)
    return texture.reshape(-1)[rows * SIDE + columns]
