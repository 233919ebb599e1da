"""From dusk (strength about 0.45) to full night (about 0.95)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.world.classes import IGNORE, SKY
from acclimate.world.view import View

_MOONLIGHT = np.array([0.80, 0.93, 1.22], np.float32)
_SUNSET = np.array([1.22, 0.96, 0.74], np.float32)
_AFTERGLOW = np.array([0.95, 0.5, 0.22], np.float32)
_HEADLIGHT = np.array([1.0, 0.94, 0.82], np.float32)


def darken(view: View, strength: float) -> NDArray[np.float32]:
    """(H, W, 3) float32, 0..255, of the view lit by what is left of the day and by lamps."""
    day = view.image.astype(np.float32) * np.float32(1.0 / 255.0)
    ambient = np.float32(np.exp(-1.6 * strength**1.5))
    dark = np.power(day, np.float32(1.0 + 0.45 * strength)) * (ambient * _tint(strength))
    dark = _dim_sky(view, dark, strength)
    lamps = np.float32(np.clip(strength * 1.5 - 0.25, 0.0, 1.0))
    if lamps > 0.0:
        dark += lamps * np.float32(0.8) * day * _beam(view)[:, :, None] * _HEADLIGHT
        dark += lamps * _glow(view)
    dark *= 1.0 - 0.4 * strength * _vignette(view)[:, :, None]
    return (dark * np.float32(255.0)).astype(np.float32)


def _tint(strength: float) -> NDArray[np.float32]:
    """The colour of the light: sunset on the way down, moonlight at the end."""
    moon, sun = strength**2 * (_MOONLIGHT - 1.0), _low_sun(strength) * (_SUNSET - 1.0)
    tint = 1.0 + moon + sun
    return np.asarray(tint, np.float32)


def _dim_sky(view: View, dark: NDArray[np.float32], strength: float) -> NDArray[np.float32]:
    """The sky loses more than the ground, but glows above the horizon at dusk."""
    rows = np.arange(dark.shape[0], dtype=np.float32)[:, None]
    rise = np.clip((view.camera.horizon - rows) / view.camera.horizon, 0.0, 1.0)
    keep = 1.0 - strength * (0.15 + 0.6 * rise**0.5)
    sky = (view.labels == SKY)[:, :, None]
    glow = 0.4 * _low_sun(strength) * ((1.0 - rise) ** 3)[:, :, None] * _AFTERGLOW
    return np.asarray(np.where(sky, dark * keep[:, :, None] + glow, dark), np.float32)


def _low_sun(strength: float) -> float:
    return max(0.0, 4.9 * strength * (0.9 - strength))


def _beam(view: View) -> NDArray[np.float32]:
    """(H, W) 0..1 reach of the own headlights, by direction and distance."""
    height, width = view.labels.shape
    camera = view.camera
    across = (np.arange(width, dtype=np.float32)[None, :] + 0.5 - 0.5 * width) / camera.focal
    up = (camera.horizon - np.arange(height, dtype=np.float32)[:, None] - 0.5) / camera.focal
    cone = np.exp(-((across / 0.3) ** 2)) * np.exp(-((np.maximum(up, 0.0) / 0.07) ** 2))
    near = np.clip(view.depth / 7.0, 0.2, 1.0)
    reach = near / (1.0 + (view.depth / 22.0) ** 2)
    beam = cone * reach
    beam[(view.labels == SKY) | (view.labels == IGNORE)] = 0.0
    return np.asarray(beam, np.float32)


def _glow(view: View) -> NDArray[np.float32]:
    """(H, W, 3) lamps and windows themselves, and their halo in the lens."""
    light = view.light.astype(np.float32) * np.float32(1.0 / 255.0)
    unit = view.light.shape[1] / 224.0
    halo = cv2.GaussianBlur(light, (0, 0), 2.2 * unit)
    small = cv2.resize(light, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(small, (0, 0), max(0.5, 2.6 * unit))
    wide = cv2.resize(wide, (light.shape[1], light.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(0.6 * light + 0.45 * halo + 0.5 * wide, np.float32)


def _vignette(view: View) -> NDArray[np.float32]:
    height, width = view.labels.shape
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height - 0.5
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5) / width - 0.5
    return np.asarray(2.0 * (x * x + y * y), np.float32)
