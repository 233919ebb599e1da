"""Colours of a stream, moved towards those a base was trained under: a factor and offset a channel.

Ours, not VocAlign's. What a network sees at dusk, in fog or in rain differs from what it learned
first of all in each channel's mean and spread, and those need no labels to put right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

UNCHANGED = np.array([[1, 1, 1], [0, 0, 0]], np.float32)
MOST_FACTOR, MOST_MOVED = 2.0, 64.0
Frames = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Daylight:
    """What a base knows: low and high mean and spread of each channel (R G B), each (2, 3)."""

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, read back by `from_dict`."""
        return {"mean": self.mean.tolist(), "spread": self.spread.tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Daylight:
        """Read `to_dict`'s form; raises ValueError, KeyError or TypeError."""
        ranges = [np.array(values[name], np.float32) for name in ("mean", "spread")]
        if any(
            r.shape != (2, 3) or not (r[0] >= 0).all() or not (r[0] <= r[1]).all() for r in ranges
        ):
            raise ValueError("daylight: mean and spread must be [low R G B, high R G B]")
        return cls(*ranges)


def daylight_of(drives: Sequence[Frames]) -> Daylight:
    """The middle half (quartiles) of drives, each some frames (H,W,3), in whole grey levels."""
    rows = np.array([statistics(frames) for frames in drives])
    low, high = np.percentile(rows, (25, 75), axis=0).round()
    return Daylight(*(np.stack([low[i], high[i]]).astype(np.float32) for i in (0, 1)))


def statistics(frames: Frames) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Frames (H,W,3) -> mean (3,) and spread (3,): the mean of each frame's standard deviation."""
    pixels = np.stack(frames).astype(np.float32)
    return pixels.mean((0, 1, 2)), pixels.std((1, 2)).mean(0)


def towards_daylight(frames: Frames, daylight: Daylight | None, part: float) -> NDArray[np.float32]:
    """Frames (H,W,3) of one stream -> (2,3) factors and offsets, `part` (0..1) of the way.

    A channel whose mean and spread lie within daylight's is left as it is. A factor is at most
    MOST_FACTOR and a mean moves by at most MOST_MOVED: a covered lens is not blown up into noise.
    """
    if daylight is None:
        return UNCHANGED
    mean, spread = statistics(frames)
    factor = np.clip(spread, *daylight.spread) / np.maximum(spread, 1)
    factor = np.clip(factor, 1 / MOST_FACTOR, MOST_FACTOR)
    moved = np.clip(np.clip(mean, *daylight.mean) - mean, -MOST_MOVED, MOST_MOVED)
    whole = np.stack([factor, mean + moved - factor * mean])
    return np.asarray(UNCHANGED + part * (whole - UNCHANGED), np.float32)


def recolour(image: Tensor, colour: Tensor) -> Tensor:
    """image (B,3,H,W) 0..255, colour (2,3) -> the image in its new colours, 0..255."""
    factor, offset = colour[:, :, None, None]
    return (image * factor + offset).clamp(0, 255)


def recolour_frame(frame: NDArray[np.uint8], colour: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The same for one frame (H,W,3)."""
    return np.rint(np.clip(frame * colour[0] + colour[1], 0, 255)).astype(np.uint8)


def both_looks(frames: Frames, colour: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """Frames (H,W,3) as they are and in `colour` by turns, to learn from: an adapter that knows one
    look alone does well at night as it is and harms in fog as it is served, or the reverse."""
    return [recolour_frame(frame, colour) if i % 2 else frame for i, frame in enumerate(frames)]
