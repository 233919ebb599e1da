"""Colours moved towards those a base was trained under, frame by frame, inside the engine.

Ours, not VocAlign's. What a network sees at dusk, in fog or in rain differs from what it learned
first of all in each channel's mean and spread, and those need no labels to put right. In the dark a
factor lifts lamps as much as the road; a gamma lifts the road alone, and with it the sensor's
noise, which a little blur takes away again. Where even the most of a gamma leaves a night dark, an
offset would lay a fog over it: the way by factor and offset fades out before. Each frame is
measured anew, so that the picture follows the light; what a gate chooses is only how far it is
moved.

`colour` (7,3), a column for each channel (R G B): the low and the high mean and the low and the
high spread that the base knows, then three shares 0..1: of the way to them by factor and offset, of
the gamma, of the blur.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from acclimate.configs.adapt import Colour

SHARES: dict[Colour, tuple[float, float, float]] = {
    "plain": (0, 0, 0), "half": (0.5, 0, 0), "whole": (1, 0, 0), "lifted": (0.5, 1, 1),
}  # fmt: skip
UNCHANGED = np.array([[0] * 3, [255] * 3, [0] * 3, [255] * 3, *[[0] * 3] * 3], np.float32)
MOST_FACTOR, MOST_MOVED, LEAST_GAMMA = 2.0, 64.0, 0.45
FADING = 0.1  # of gamma: so far above its least the way begins to fade
BLUR = 0.8  # pixels: sigma of a Gaussian over 3x3
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
    rows = np.array([_statistics(frames) for frames in drives])
    low, high = np.percentile(rows, (25, 75), axis=0).round()
    return Daylight(*(np.stack([low[i], high[i]]).astype(np.float32) for i in (0, 1)))


def _statistics(frames: Frames) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Frames (H,W,3) -> mean (3,) and spread (3,): the mean of each frame's standard deviation."""
    pixels = np.stack(frames).astype(np.float32)
    return pixels.mean((0, 1, 2)), pixels.std((1, 2)).mean(0)


def colour_of(daylight: Daylight | None, name: Colour) -> NDArray[np.float32]:
    """The engine's input `colour` (7,3) for a base; UNCHANGED where it does not say what it knows,
    and where nothing is to be moved."""
    if daylight is None or not any(SHARES[name]):
        return UNCHANGED
    shares = [[share] * 3 for share in SHARES[name]]
    return np.concatenate([daylight.mean, daylight.spread, shares], dtype=np.float32)


def recolour(image: Tensor, colour: Tensor) -> Tensor:
    """image (B,3,H,W) 0..255, colour (7,3) -> each image in its new colours, 0..255; in UNCHANGED
    the very same numbers."""
    known, (way, lift, blur) = colour[:4, :, None, None], colour[4:, :, None, None]
    gamma = _gamma(image, known[0])
    way = way * (1 - lift * (1 - ((gamma - LEAST_GAMMA) / FADING).clamp(max=1.0)))
    # Below level 1 the gamma's curve is a straight line.
    image = image * (image.clamp(min=1.0) / 255) ** (lift * (gamma - 1))
    image = _moved(image, known, way)
    return image + blur * (_blurred(image) - image)


def _gamma(image: Tensor, low: Tensor) -> Tensor:
    """(B,1,1,1), LEAST_GAMMA..1: what takes an image's mean to the least that is known, 1 for a
    brighter one; no less than LEAST_GAMMA, for more lifts noise."""
    mean = image.mean((1, 2, 3), keepdim=True).clamp(1.0, 254.0) / 255
    gamma = (low.mean() / 255).clamp(min=1 / 255).log() / mean.log()
    return gamma.clamp(LEAST_GAMMA, 1.0)


def _moved(image: Tensor, known: Tensor, way: Tensor) -> Tensor:
    """`way` of factor and offset that take a channel's mean and spread to the nearest known.

    A factor is at most MOST_FACTOR and a mean moves by at most MOST_MOVED: a covered lens is not
    blown up into noise.
    """
    mean = image.mean((2, 3), keepdim=True)
    spread = ((image - mean) ** 2).mean((2, 3), keepdim=True).sqrt()
    factor = _between(spread, known[2], known[3]) / spread.clamp(min=1.0)
    factor = 1 + way * (factor.clamp(1 / MOST_FACTOR, MOST_FACTOR) - 1)
    offset = (_between(mean, known[0], known[1]) - mean).clamp(-MOST_MOVED, MOST_MOVED)
    return (factor * image + (1 - factor) * mean + way * offset).clamp(0.0, 255.0)


def _between(value: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(value, low), high)


def _blurred(image: Tensor) -> Tensor:
    """(B,3,H,W) -> the same size, by a Gaussian over 3x3; the border is repeated."""
    side = float(np.exp(-0.5 / BLUR**2))
    weight = torch.tensor([side, 1.0, side], device=image.device) / (1 + 2 * side)
    kernel = (weight[:, None] * weight).expand(3, 1, 3, 3)
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)


def recolour_frame(frame: NDArray[np.uint8], colour: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The same for one frame (H,W,3)."""
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    moved = recolour(image, torch.from_numpy(colour))[0].permute(1, 2, 0)
    return np.asarray(moved.round().to(torch.uint8).numpy())


def both_looks(frames: Frames, colour: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """Frames (H,W,3) as they are and in `colour` by turns, to learn from: an adapter that knows one
    look alone does well at night as it is and harms in fog as it is served, or the reverse."""
    return [recolour_frame(frame, colour) if i % 2 else frame for i, frame in enumerate(frames)]
