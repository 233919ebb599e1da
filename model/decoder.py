"""CAT-Seg's upsampling decoder, one class plane at a time.

Source: KU-CVLAB/CAT-Seg @6d3a188, cat_seg/modeling/transformer/model.py, behaviour re-implemented.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
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
        """x (B*T, C, H, W), guidance (B, G, 2H, 2W) -> (B*T, C', 2H, 2W).

        No class but its own plane: what the first convolution makes of the guidance and of the
        bias of `up` is computed once per image, and the rest of it together with `up` (exact).
        """
        first, rest = self.conv.double_conv[0], self.conv.double_conv[1:]
        assert isinstance(first, nn.Conv2d) and self.up.bias is not None
        bias = self.up.bias[:, None, None].expand(len(guidance), -1, *guidance.shape[2:])
        shared = first(torch.cat([bias, guidance], 1))
        own = upsample_and_convolve(x, self.up.weight, first.weight[:, : bias.shape[1]])
        y: Tensor = rest((own.unflatten(0, (len(guidance), -1)) + shared[:, None]).flatten(0, 1))
        return y


def upsample_and_convolve(x: Tensor, up: Tensor, weight: Tensor) -> Tensor:
    """x (N, C, H, W) through a transposed convolution, then a 3x3 one, as a single transposed one.

    `up` (C, M, k, k) has stride k, `weight` (C', M, 3, 3) padding 1; neither bias is added.
    """
    kernel = F.conv2d(up, weight, padding=2)
    return F.conv_transpose2d(x, kernel, stride=up.shape[-1], padding=1)
