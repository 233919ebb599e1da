"""What the rows learn from and are scored on: pictures of a data set, as the release draws them.

Source: Sisso16/VocAlign @ 4f2ed57, configs/_base_/datasets/*_384x384.py (RandomResize, RandomCrop,
RandomFlip, PhotoMetricDistortion; Resize). The release looks at labels to place its crops
(cat_max_ratio) and pads pictures that are smaller than a crop; here the place is drawn alone and
such pictures are enlarged.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acclimate.adapt.batch import Batch, crop
from acclimate.configs.reproduction import Recipe
from acclimate.errors import SourceError
from acclimate.runtime.datasets import Found, find_dataset
from acclimate.runtime.evaluate import read_image

Picture = NDArray[np.uint8]
BRIGHTNESS, HUE = 32, 18  # grey levels; OpenCV's half degrees
FACTORS = (0.5, 1.5)  # of contrast and of saturation


def training_pictures(root: Path, recipe: Recipe) -> tuple[Path, ...]:
    """The pictures of the training split, whose labels nobody reads; raises SourceError."""
    return tuple(pair.image for pair in find_dataset(root, recipe.dataset, recipe.train).pairs)


def scored_pictures(root: Path, recipe: Recipe, training: Sequence[Path]) -> Found:
    """The validation split with its labels; raises SourceError where it overlaps with training."""
    found = find_dataset(root, recipe.dataset, recipe.val)
    if both := {pair.image for pair in found.pairs} & set(training):
        raise SourceError(
            f"{len(both)} pictures are both in {recipe.train} and in {recipe.val}, {min(both)} for "
            f"one; put the data set's lists of its splits below {root}"
        )
    return found


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> list[int]:
    """Every picture once, in an order of its own for each epoch."""
    order: list[int] = np.random.default_rng((seed % 2**32, epoch)).permutation(count).tolist()
    return order


def chosen(count: int, batch: int, step: int, seed: int) -> list[int]:
    """Which pictures step `step` (from 0) sees: all of them in turn, shuffled anew each time."""
    places = range(step * batch, (step + 1) * batch)
    return [_order(count, seed, place // count)[place % count] for place in places]


def draw(
    paths: Sequence[Path], recipe: Recipe, step: int, seed: int, generator: torch.Generator
) -> Batch:
    """Squares of `crop` px out of the step's pictures; raises SourceError."""
    picked = chosen(len(paths), recipe.settings.batch, step, seed)
    images = torch.stack([_square(read_image(paths[i]), recipe, generator) for i in picked])
    return Batch(images, torch.ones(len(images), *images.shape[-2:], dtype=torch.bool))


def _square(picture: Picture, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """(H,W,3) -> (3,side,side) float32 0..255."""
    base = _within(picture.shape, recipe.scale)
    low, high = recipe.settings.crop_scale
    pixels = torch.from_numpy(picture).permute(2, 0, 1).float()
    everywhere = torch.ones(1, *picture.shape[:2], dtype=torch.bool)
    side = recipe.settings.crop
    image, _ = crop(pixels, everywhere, side, (low * base, high * base), generator)
    if not recipe.distort:
        return image
    u = torch.rand(10, generator=generator).tolist()
    image = image.flip(-1) if u[9] < 0.5 else image
    whole = image.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
    return torch.from_numpy(distort(whole, u)).permute(2, 0, 1).float()


def distort(picture: Picture, u: Sequence[float]) -> Picture:
    """PhotoMetricDistortion of (H,W,3): brightness, contrast, saturation and hue, each with 0.5.

    `u`: nine draws in 0..1, for each of the four whether and how much, and for contrast whether it
    comes before the colours or after them.
    """

    def between(low: float, high: float, draw: float) -> float:
        return low + (high - low) * draw

    if u[0] < 0.5:
        picture = _linear(picture, 1.0, between(-BRIGHTNESS, BRIGHTNESS, u[1]))
    contrast, first = between(*FACTORS, u[3]) if u[2] < 0.5 else 1.0, u[8] < 0.5
    if first:
        picture = _linear(picture, contrast)
    factor = between(*FACTORS, u[5]) if u[4] < 0.5 else 1.0
    turn = int(between(-HUE, HUE, u[7])) if u[6] < 0.5 else 0
    picture = _colours(picture, factor, turn)
    return picture if first else _linear(picture, contrast)


def _linear(values: Picture, factor: float, offset: float = 0.0) -> Picture:
    return np.clip(values * np.float32(factor) + np.float32(offset), 0, 255).astype(np.uint8)


def _colours(picture: Picture, saturation: float, turn: int) -> Picture:
    """The picture itself where neither is asked for: to HSV and back costs a grey level."""
    if saturation == 1.0 and not turn:
        return picture
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = _linear(hsv[..., 1], saturation)
    hsv[..., 0] = (hsv[..., 0].astype(int) + turn) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def fitted(picture: Picture, recipe: Recipe) -> Picture:
    """As it is scored: within the recipe's scale, or exactly of it where aspects are not kept."""
    if recipe.keep_ratio:
        factor = _within(picture.shape, recipe.scale)
        height, width = (max(1, int(n * factor + 0.5)) for n in picture.shape[:2])
    else:
        width, height = recipe.scale
    if (height, width) == picture.shape[:2]:
        return picture
    return np.asarray(
        cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8
    )


def _within(shape: Sequence[int], scale: tuple[int, int]) -> float:
    """The factor that brings a picture's longer and shorter side within `scale`."""
    return min(max(scale) / max(shape[:2]), min(scale) / min(shape[:2]))
