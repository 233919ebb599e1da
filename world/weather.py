"""Applies a shift to a clean view; strength 0 is the clean image, and all is continuous in it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.world.classes import PAVEMENT, ROAD
from acclimate.world.night import darken
from acclimate.world.shift import Shift
from acclimate.world.texture import fractal, sample
from acclimate.world.view import View

Image = NDArray[np.float32]
Effect = Callable[[View, float, int, np.random.Generator], Image]


def apply(view: View, shift: Shift, seed: int, index: int) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 image of the view under the shift."""
    if shift.kind == "none" or shift.strength <= 0.0:
        return view.image
    rng = np.random.default_rng((seed, 99, index & 0xFFFFFFFF))
    image = _EFFECTS[shift.kind](view, shift.strength, seed, rng)
    return np.asarray(np.clip(image + 0.5, 0.0, 255.0), np.uint8)


def add_noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """Sensor noise of the given spread, partly shared by the channels."""
    height, width = image.shape[:2]
    grey = rng.standard_normal((height, width, 1), np.float32)
    colour = rng.standard_normal((height, width, 3), np.float32)
    return np.asarray(image + sigma * (0.7 * grey + 0.6 * colour), np.float32)


def _night(view: View, strength: float, seed: int, rng: np.random.Generator) -> Image:
    return add_noise(darken(view, strength), 11.0 * strength**1.5, rng)


def _fog(view: View, strength: float, seed: int, rng: np.random.Generator) -> Image:
    """Light fades exponentially with distance into a pale veil."""
    image = view.image.astype(np.float32)
    veil = np.array([204.0, 208.0, 212.0], np.float32) - 26.0 * (seed % 3)
    density = 0.075 * strength**1.6
    clear = np.exp(-density * np.minimum(view.depth, 160.0))[:, :, None]
    clear = clear * (1.0 - 0.25 * strength)
    grey = image.mean(axis=2, keepdims=True)
    image += 0.5 * strength * (grey - image)
    return np.asarray(veil + (image - veil) * clear, np.float32)


def _rain(view: View, strength: float, seed: int, rng: np.random.Generator) -> Image:
    """Grey light, a mirroring road, streaks in the air and drops on the lens."""
    image = view.image.astype(np.float32)
    image += 0.55 * strength * (image.mean(axis=2, keepdims=True) - image)
    image *= 1.0 - strength * np.array([0.36, 0.32, 0.28], np.float32)
    image = _wet(view, image, strength)
    veil = (1.0 - np.exp(-0.02 * strength * np.minimum(view.depth, 120.0)))[:, :, None]
    image += veil * (np.array([150.0, 156.0, 164.0], np.float32) - image)
    image += (90.0 * strength * _streaks(image.shape[0], image.shape[1], rng))[:, :, None]
    return _drops(image, strength, seed)


def _wet(view: View, image: Image, strength: float) -> Image:
    """Roads and pavements darken and mirror what stands beyond them."""
    height = image.shape[0]
    row = round(view.camera.horizon)
    source = np.clip(2 * row - np.arange(height), 0, height - 1)
    mirrored = cv2.blur(image[source], (3, max(3, height // 14)))
    paved = ((view.labels == ROAD) | (view.labels == PAVEMENT)).astype(np.float32)
    puddles = np.clip(0.5 + 0.3 * _puddle_noise(view), 0.0, 1.0)
    wet = (strength * paved * puddles)[:, :, None]
    return np.asarray(image * (1.0 - 0.75 * wet) + 0.85 * wet * mirrored, np.float32)


def _puddle_noise(view: View) -> Image:
    """(H, W) noise that lies on the road and passes by with it."""
    camera = view.camera
    across = np.arange(view.labels.shape[1], dtype=np.float32)[None, :] - 0.5 * camera.size[1]
    u = across * view.depth / np.float32(camera.focal) + np.float32(camera.lateral)
    v = view.depth + np.float32(view.travelled % 1024.0)
    return np.asarray(cv2.blur(sample(fractal(3, 1.4), 9.0 * u, 3.0 * v), (5, 3)), np.float32)


def _streaks(height: int, width: int, rng: np.random.Generator) -> Image:
    """(H, W) 0..1 slanted motion-blurred drops in the air."""
    sheet = np.zeros((height, width), np.float32)
    unit = height / 160.0
    count = int(1.1 * width / unit)
    starts = rng.uniform((-0.1 * width, -0.1 * height), (1.1 * width, height), (count, 2))
    lengths = rng.uniform(5.0, 16.0, count) * unit
    for (x, y), length in zip(starts, lengths, strict=True):
        end = (round(16 * (x + 0.22 * length)), round(16 * (y + length)))
        bright = float(rng.uniform(0.2, 0.7))
        cv2.line(sheet, (round(16 * x), round(16 * y)), end, bright, 1, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(sheet, (0, 0), 0.6), np.float32)


def _drops(image: Image, strength: float, seed: int) -> Image:
    """Blurred blobs of water that stay on the lens for the whole drive."""
    height, width = image.shape[:2]
    rows = np.arange(height, dtype=np.float32)[:, None] * (320.0 / height)
    columns = np.arange(width, dtype=np.float32)[None, :] * (448.0 / width)
    noise = sample(fractal(5, 1.0), columns + 0 * rows + seed * 17, rows + 0 * columns)
    mask = np.clip((cv2.GaussianBlur(noise, (0, 0), 1.2) - 1.15) * 2.0, 0.0, 1.0)
    blurred = cv2.GaussianBlur(image, (0, 0), width / 50.0) * 1.06
    return np.asarray(image + (0.8 * strength * mask)[:, :, None] * (blurred - image), np.float32)


def _cast(view: View, strength: float, seed: int, rng: np.random.Generator) -> Image:
    """A white balance that is off by the drive's own hue."""
    hue = np.random.default_rng((seed, 98)).uniform(0.0, 2.0 * np.pi)
    shifted = np.cos(hue + np.array([0.0, 2.1, 4.2], np.float32))
    gains = np.exp(0.55 * strength * shifted).astype(np.float32)
    return np.asarray(view.image * gains, np.float32)


def _noise(view: View, strength: float, seed: int, rng: np.random.Generator) -> Image:
    """A cheap sensor: a little blur and much noise."""
    image = view.image.astype(np.float32)
    blurred = cv2.GaussianBlur(image, (0, 0), 1.1 * view.image.shape[1] / 224.0)
    return add_noise(image + strength * (blurred - image), 42.0 * strength, rng)


_EFFECTS: dict[str, Effect] = {
    "night": _night,
    "fog": _fog,
    "rain": _rain,
    "cast": _cast,
    "noise": _noise,
}
