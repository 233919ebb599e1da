"""Where nothing is learned: the vehicle's own parts, drawn by hand or found by their stillness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acclimate.adapt.batch import Frames
from acclimate.configs.adapt import AdaptConfig
from acclimate.configs.schema import Config
from acclimate.errors import ConfigError

MIN_FRAMES, MIN_MOTION = 12, 5.0  # frames; grey levels, below: parked
STILL, EDGE, WIDE = 0.5, 1.2, 0.25
Map = NDArray[np.floating]


class Hoods:
    """Which pixels of a frame count, by the camera that it came from."""

    def __init__(self, config: Config, cameras: Sequence[str], frames: Frames) -> None:
        """All `frames` (H, W, 3) of a round, held-out ones too, in the same colours, each with the
        name of its camera; where there is one source all are its own, whatever it was called.
        Raises ConfigError where nothing of a camera is left."""
        self._only = next(iter(config.sources)) if len(config.sources) == 1 else None
        by_camera = defaultdict[str, list[NDArray[np.uint8]]](list)
        for camera, frame in zip(cameras, frames, strict=True):
            by_camera[self._only or camera].append(frame)
        self._valid = {
            camera: valid_pixels(
                replace(config.adapt, hood=config.hood_of(camera)), its, f"hood of {camera!r}"
            )[0].numpy()
            for camera, its in by_camera.items()
        }

    def over(self, cameras: Sequence[str]) -> NDArray[np.bool_]:
        """(N, H, W): what counts in a frame of each of N cameras."""
        return np.stack([self._valid[self._only or camera] for camera in cameras])


def valid_pixels(settings: AdaptConfig, frames: Frames, name: str = "adapt.hood") -> Tensor:
    """Bool (1, H, W): False inside the hood's polygons and, if asked, where nothing ever moves.

    Raises ConfigError, with the hood's `name`, when nothing is left to learn from.
    """
    valid = hood_mask(settings, frames[0].shape[:2])
    if settings.hood_auto:
        valid = valid & ~torch.from_numpy(still_bonnet(frames))[None]
    if not bool(valid.any()):
        raise ConfigError([f"{name}: covers the whole frame; leave the road free"])
    return valid


def hood_mask(settings: AdaptConfig, size: Sequence[int]) -> Tensor:
    """Bool (1, H, W): False inside the hood's polygons."""
    height, width = size[:2]
    mask = np.ones((height, width), np.uint8)
    for polygon in settings.hood:
        points = np.array(polygon) * (width, height)
        cv2.fillPoly(mask, [points.round().astype(np.int32)], (0,))
    return torch.from_numpy(mask).bool()[None]


def still_bonnet(frames: Frames) -> NDArray[np.bool_]:
    """Bool (H, W): the bonnet at the lower edge of frames (H, W, 3), from their variance over time.

    A column belongs to it where brightness below a row varies less than half as much as in the
    band above, and where that row is an edge which stays through all frames. Nothing is found in
    fewer than a quarter of the columns, in fewer than MIN_FRAMES, while parked, and above the
    middle: sky and empty roads are still too, but no edge bounds them.
    """
    height, width = frames[0].shape[:2]
    bonnet = np.zeros((height, width), bool)
    if len(frames) < MIN_FRAMES:
        return bonnet
    grey = np.stack([_brightness(frame) for frame in frames])
    varies = grey.std(0)
    if np.median(varies) < MIN_MOTION:
        return bonnet
    tops, fits = _tops(varies, _lasting_edges(grey))
    columns = _agreeing(tops, np.flatnonzero(fits), height)
    if len(columns) >= WIDE * width:
        between = np.arange(columns[0], columns[-1] + 1)
        line = np.interp(between, columns, tops[columns])
        bonnet[:, between] = np.arange(height)[:, None] > line
    return bonnet


def _brightness(frame: NDArray[np.uint8]) -> Map:
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), len(frame) / 100))


def _lasting_edges(grey: Map) -> Map:
    """(N, H, W) -> (H, W): the mean step between rows over how much it varies."""
    reach = max(1, grey.shape[1] // 80)
    steps = np.zeros_like(grey)
    steps[:, reach:-reach] = grey[:, 2 * reach :] - grey[:, : -2 * reach]
    return np.asarray(np.abs(steps.mean(0)) / (steps.std(0) + 2))


def _tops(varies: Map, edges: Map) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Each column's row below which it varies least, and whether that row may bound a bonnet."""
    height, width = varies.shape
    first, band, near = height // 2, height // 8, 3 * max(1, height // 80)
    tops = first + _split(varies[first:], max(3, height // 50))
    fits = np.zeros(width, bool)
    for x, top in enumerate(tops):
        above = varies[max(first, top - band) : top - 1, x]
        if above.size:
            still = varies[top + 1 :, x].mean() < STILL * above.mean()
            fits[x] = still and edges[top - near : top + near + 1, x].max() > EDGE
    return tops, fits


def _split(varies: Map, least: int) -> NDArray[np.intp]:
    """(h, W) -> (W,): the row that best parts each column into much above and little below."""
    rows = len(varies)
    above = np.arange(1, rows)[:, None]
    total = varies.cumsum(0)
    drop = total[:-1] / above - (total[-1] - total[:-1]) / (rows - above)
    between = above * (rows - above) * np.maximum(drop, 0) ** 2
    between[-least:] = 0
    return np.asarray(between.argmax(0) + 1)


def _agreeing(tops: NDArray[np.intp], columns: NDArray[np.intp], height: int) -> NDArray[np.intp]:
    """The columns whose rows lie near the median of their neighbours'."""
    reach, far = 10, max(2, height // 50)
    return np.array([
        x for i, x in enumerate(columns)
        if abs(tops[x] - np.median(tops[columns[max(0, i - reach) : i + reach + 1]])) <= far
    ], np.intp)  # fmt: skip
