"""Views for the student: colour jitter and mirror images, drawn from a torch.Generator.

Released `data_preprocessor.py`: torchvision's ColorJitter(0.5, 0.5, 0.5, 0.25), then grey with 0.2
and a blur with 0.5, all before masking.
Images are float RGB (B, 3, H, W) in 0..255; draws are made on the generator's device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torchvision.transforms.functional as TF
from torch import Tensor


@dataclass(frozen=True)
class Jitter:
    """Strengths: factors from 1-x to 1+x (not below 0); hue turns by up to +-x circles (<= 0.5)."""

    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.25


_ADJUST = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)


def colour_jitter(images: Tensor, jitter: Jitter, generator: torch.Generator) -> Tensor:
    """Each image changed by its own draws, in an order drawn for it; values stay in 0..255."""
    return torch.stack([_jitter_one(image, jitter, generator) for image in images])


def _jitter_one(image: Tensor, jitter: Jitter, generator: torch.Generator) -> Tensor:
    device = generator.device
    spread = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    draws = torch.rand(4, generator=generator, device=device).tolist()
    order = torch.randperm(4, generator=generator, device=device).tolist()
    result = image / 255.0
    for i in order:
        turn = spread[i] * (2.0 * draws[i] - 1.0)
        if turn:
            result = _ADJUST[i](result, turn if i == 3 else max(0.0, 1.0 + turn))
    return result * 255.0


def grayscale(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Each image without its colours, with `probability`; nothing is drawn for 0."""
    if not probability:
        return images
    chosen = torch.rand(len(images), generator=generator, device=generator.device) < probability
    grey = TF.rgb_to_grayscale(images, num_output_channels=3)
    return torch.where(chosen.to(images.device).view(-1, 1, 1, 1), grey, images)


def blur(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """The whole batch blurred (5 px kernel, sigma 0.1 to 2 px), with `probability`; one draw.

    Nothing is drawn for 0.
    """
    if not probability:
        return images
    u, v = torch.rand(2, generator=generator, device=generator.device).tolist()
    return TF.gaussian_blur(images, [5, 5], [0.1 + 1.9 * v] * 2) if u < probability else images


def flip_flags(batch: int, generator: torch.Generator, probability: float = 0.5) -> Tensor:
    """(B,) bool: which images to mirror."""
    return torch.rand(batch, generator=generator, device=generator.device) < probability


def flip(x: Tensor, flags: Tensor) -> Tensor:
    """Mirror the last axis (W) of the flagged rows of `x` (B, ..., W): images, labels, masks."""
    chosen = flags.to(x.device).view(-1, *[1] * (x.ndim - 1))
    return torch.where(chosen, x.flip(-1), x)
