"""A wide picture of the sky to cut each frame's background from."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.world.texture import SIDE, fractal
from acclimate.world.theme import Theme

MARGIN = 64  # px on every side, for turning and pitching


def panorama(theme: Theme, seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """(height + 2 MARGIN, width + 2 MARGIN, 3) uint8; the horizon is at height + MARGIN."""
    rows, columns = height + 2 * MARGIN, width + 2 * MARGIN
    rise = np.clip((height + MARGIN - np.arange(rows)) / height, 0.0, 1.0)[:, None, None]
    low, high = np.array(theme.sky_low, np.float32), np.array(theme.sky_high, np.float32)
    sky = low + (high - low) * rise.astype(np.float32) ** 0.7
    noise = np.roll(fractal(11, 1.6), seed * 37 % SIDE, axis=(0, 1))
    wide = cv2.resize(noise[: SIDE // 2], (columns, rows), interpolation=cv2.INTER_CUBIC)
    noise = np.asarray(wide, np.float32)
    cover = 1.6 - 2.2 * theme.clouds
    cloud = np.clip((noise - cover) * 0.8, 0.0, 1.0)[:, :, None] * np.clip(4.0 * rise, 0.2, 1.0)
    white = 244.0 - 46.0 * theme.clouds * np.clip(noise, 0.0, 2.0)[:, :, None]
    return np.asarray(np.clip(sky + (white - sky) * 0.85 * cloud, 0.0, 255.0), np.uint8)
