"""What one step sees: whole frames or random crops of them, and which pixels count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from acclimate.configs.adapt import AdaptConfig

Frames = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Batch:
    """`images` (B, 3, H, W) float32 RGB 0..255; `valid` (B, H, W) bool, False under the hood."""

    images: Tensor
    valid: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.images.shape[-2], self.images.shape[-1]

    def to(self, device: torch.device) -> Batch:
        """The same elsewhere."""
        return Batch(self.images.to(device), self.valid.to(device))


def draw_batch(
    frames: Frames, valid: Tensor, settings: AdaptConfig, generator: torch.Generator
) -> Batch:
    """Frames (H, W, 3) uint8 drawn with replacement, `valid` (N or 1, H, W) -> what one step
    sees."""
    chosen = torch.randint(len(frames), (settings.batch,), generator=generator).tolist()
    images = to_images([frames[i] for i in chosen])
    seen = valid.expand(len(frames), -1, -1)[chosen]
    return Batch(*cropped(images, seen, settings, generator))


def cropped(
    images: Tensor, maps: Tensor, settings: AdaptConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images (B, 3, H, W) with maps (B, H, W) of them, or a crop of each where crops are set."""
    if not settings.crop:
        return images, maps
    side = min(settings.crop, *images.shape[-2:])
    crops = [
        crop(image, one[None], side, settings.crop_scale, generator)
        for image, one in zip(images, maps, strict=True)
    ]
    return torch.stack([c[0] for c in crops]), torch.cat([c[1] for c in crops])


def crop(
    image: Tensor, chart: Tensor, side: int, scale: tuple[float, float], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """image (3, H, W), a map of it (1, H, W) -> a square of `side` out of both, resized by a
    drawn factor before (released `cityscapes_384x384.py`: RandomResize 0.5-2, RandomCrop).

    The factor is raised where the resized frame would not fill the square. The release looks at
    the labels to place its crop; here the place is drawn alone.
    """
    (height, width), (low, high) = image.shape[-2:], scale
    u = torch.rand(3, generator=generator, device=generator.device).tolist()
    factor = max(low + (high - low) * u[0], side / min(height, width))
    window = max(1, min(round(side / factor), height, width))
    y, x = int(u[1] * (height - window + 1)), int(u[2] * (width - window + 1))
    piece = image[:, y : y + window, x : x + window]
    same = chart[:, y : y + window, x : x + window]
    grown = F.interpolate(piece[None], (side, side), mode="bilinear", antialias=True)[0]
    return grown, F.interpolate(same[None].float(), (side, side), mode="nearest")[0].to(chart.dtype)


def to_images(frames: Frames) -> Tensor:
    """Frames (H, W, 3) uint8 -> (B, 3, H, W) float32, 0..255."""
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float()
