"""Block masking of the student's view (paper Eq. 5-6; released `masking_transforms.py`)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_grid(size: tuple[int, int], block: int) -> tuple[int, int]:
    """Cells of an (H, W) image for `block` pixels a side: half rounds to even, at least 1."""
    return max(1, round(size[0] / block)), max(1, round(size[1] / block))


def draw(batch: int, size: tuple[int, int], block: int, generator: torch.Generator) -> Tensor:
    """Uniform draws (B, 1, h, w) float32 on the CPU, one a cell, for `block_mask`."""
    return torch.rand((batch, 1, *mask_grid(size, block)), generator=generator)


def block_mask(v: Tensor, size: tuple[int, int], block: int, ratio: float) -> Tensor:
    """Draws `v` (B, 1, h, w) in 0..1 -> mask (B, 1, H, W) in v's dtype, 1 where v > ratio.

    Cells grow to (H, W) by nearest neighbour. Multiply it with raw 0..255 pixels, before the
    normalisation: hidden blocks are black. Raises ValueError when v is not of the grid.
    """
    grid = mask_grid(size, block)
    if tuple(v.shape[-2:]) != grid:
        raise ValueError(f"draws of {tuple(v.shape[-2:])} do not fit the mask grid {grid}")
    return F.interpolate((v > ratio).to(v.dtype), size=size, mode="nearest")
