"""CAT-Seg's upsampling decoder, one class plane at a time.

Source: KU-CVLAB/CAT-Seg @6d3a188, cat_seg/modeling/transformer/model.py, behaviour re-implemented.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with GroupNorm (16 channels a group) and ReLU."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_dim, out_dim, 3, padding=1, bias=False),
            nn.GroupNorm(out_dim // 16, out_dim),
            nn.ReLU(),
            nn.Conv2d(out_dim, out_dim, 3, padding=1, bias=False),
            nn.GroupNorm(out_dim // 16, out_dim),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) -> (N, C', H, W)."""
        y: Tensor = self.double_conv(x)
        return y


class Up(nn.Module):
    """Double the resolution, then mix in the guidance of that resolution."""

    def __init__(self, in_dim: int, out_dim: int, guidance_dim: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_dim, in_dim - guidance_dim, 2, 2)
        self.conv = DoubleConv(in_dim, out_dim)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """x (B*T, C, H, W), guidance (B, G, 2H, 2W) -> (B*T, C', 2H, 2W)."""
        x = self.up(x)
        b, planes = guidance.shape[0], x.shape[0]
        guidance = guidance[:, None].expand(-1, planes // b, -1, -1, -1).flatten(0, 1)
        y: Tensor = self.conv(torch.cat([x, guidance], 1))
        return y
