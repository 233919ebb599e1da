"""A rendered frame with what the shifts need to know about it."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.world.camera import Camera
from acclimate.world.canvas import Canvas
from acclimate.world.classes import GROUND, IGNORE, SKY
from acclimate.world.texture import fractal, sample
from acclimate.world.theme import Theme

_LIMIT = 250.0  # m


@dataclass(frozen=True)
class View:
    """image (H, W, 3) and light (H, W, 3) uint8, labels (H, W) uint8, depth (H, W) m float32.

    `light` is what each pixel gives off by itself once it is dark; `travelled` in m.
    """

    camera: Camera
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    depth: NDArray[np.float32]
    light: NDArray[np.uint8]
    travelled: float


def develop(canvas: Canvas, theme: Theme, camera_z: float) -> View:
    """Turn a painted canvas into a view: grain, shadows, haze and the colour of the light."""
    height, width = canvas.camera.size
    slots = canvas.slots
    labels = np.array([s.label for s in canvas.table], np.uint8)[slots]
    grain = np.array([s.grain for s in canvas.table], np.float32)[slots]
    light = np.array([s.emission for s in canvas.table], np.uint8)[slots]
    anchors = np.array([astuple(a) for a in canvas.anchors], np.float32)
    on_ground = np.isin(np.arange(256), GROUND)[labels]
    upright = _upright_depth(canvas.camera, anchors, slots)
    depth = np.where(on_ground, canvas.camera.ground_depth(_LIMIT), upright)
    gain = 1.0 + grain * _grain(canvas.camera, slots, anchors, depth, on_ground, camera_z)
    shade = cv2.GaussianBlur(canvas.shade, (0, 0), width / 200.0).astype(np.float32)
    gain *= 1.0 - np.where(on_ground, shade * (0.5 / 255.0), 0.0)
    image = cv2.resize(canvas.image, (width, height), interpolation=cv2.INTER_AREA)
    lit = image.astype(np.float32) * gain[:, :, None]
    haze = 0.75 * (1.0 - np.exp(-depth / 260.0)) * (labels != SKY)
    lit += haze[:, :, None].astype(np.float32) * (np.array(theme.sky_low, np.float32) - lit)
    lit *= theme.sun * np.array([1 + 0.05 * theme.warmth, 1.0, 1 - 0.07 * theme.warmth], np.float32)
    picture = np.clip(lit, 0.0, 255.0).astype(np.uint8)
    return View(canvas.camera, picture, labels, depth.astype(np.float32), light, camera_z)


def _upright_depth(
    camera: Camera, anchors: NDArray[np.float32], slots: NDArray[np.int32]
) -> NDArray[np.float32]:
    """(H, W) distance of standing things: of the flank along the road where it shows, else
    of the near end."""
    width = camera.size[1]
    across = np.abs(np.arange(width, dtype=np.float32) + 0.5 - 0.5 * width)[None, :]
    across = np.maximum(across, np.float32(0.5))
    _, _, near, far, flank = (column[slots] for column in anchors.T)
    return np.asarray(np.clip(camera.focal * flank / across, near, far), np.float32)


def _grain(
    camera: Camera,
    slots: NDArray[np.int32],
    anchors: NDArray[np.float32],
    depth: NDArray[np.float32],
    on_ground: NDArray[np.bool_],
    camera_z: float,
) -> NDArray[np.float32]:
    """(H, W) noise that sticks to the surfaces and fades where it would only flicker."""
    height, width = camera.size
    # Below some metres the texels would show as blocks.
    scale = np.maximum(depth, np.float32(5.5)) / np.float32(camera.focal)
    columns = np.arange(width, dtype=np.float32)[None, :]
    rows = np.arange(height, dtype=np.float32)[:, None]
    middle = 0.5 * width - camera.lateral / np.maximum(scale, 1e-3)
    start = np.where(on_ground, middle, anchors[:, 0][slots])
    u = (columns - start) * scale
    above = (rows - anchors[:, 1][slots]) * scale
    v = np.where(on_ground, depth + np.float32(camera_z % 1024.0), above)
    offset = (slots * 37 * ~on_ground).astype(np.float32)
    fine = sample(fractal(1, 0.5), u * 26.0 + offset, v * 26.0)
    broad = sample(fractal(2, 1.2), u * 5.0 + offset, v * 5.0)
    fade = np.clip(1.3 - depth / 30.0, 0.0, 1.0)
    return np.asarray(fine * fade + 0.8 * broad, np.float32)


def cover_with_hood(view: View) -> View:
    """The ego vehicle's bonnet over the lowest rows, labelled IGNORE."""
    height, width = view.labels.shape
    rows = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height
    across = (np.arange(width, dtype=np.float32)[None, :] + 0.5) / width * 2.0 - 1.0
    top = 0.865 + 0.05 * across**2 + 0.08 * across**8
    mask = rows > top
    rim = np.clip((rows - top) / 0.12, 0.0, 1.0)
    mirror = cv2.GaussianBlur(view.image[::-1], (0, 0), width / 60.0).astype(np.float32)
    sheen = 26.0 + 34.0 * np.exp(-rim * 9.0) + 10.0 * rim
    paint = sheen[:, :, None] * np.array([0.92, 0.96, 1.05], np.float32) + 0.16 * mirror
    image = np.where(mask[:, :, None], np.clip(paint, 0, 255), view.image).astype(np.uint8)
    labels = np.where(mask, IGNORE, view.labels).astype(np.uint8)
    depth = np.where(mask, 1.0, view.depth).astype(np.float32)
    light = np.where(mask[:, :, None], 0, view.light).astype(np.uint8)
    return View(view.camera, image, labels, depth, light, view.travelled)
