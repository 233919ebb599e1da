"""The appearance backbone of CAT-Seg v1: the first three stages of a ResNet.

Source: mmsegmentation's ResNet (style "pytorch"), whose blocks are torchvision's bottlenecks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


class ResNet(nn.Module):
    """`forward` gives the maps of every stage, coarsest first; BatchNorm is always in eval mode."""

    mean: Tensor
    std: Tensor

    def __init__(self, blocks: Sequence[int], width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for i, count in enumerate(blocks):
            self.add_module(
                f"layer{i + 1}", _stage(channels, width << i, count, 1 if i == 0 else 2)
            )
            channels = Bottleneck.expansion * (width << i)
        self.stages = [f"layer{i + 1}" for i in range(len(blocks))]
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.eval()

    def forward(self, image: Tensor) -> list[Tensor]:
        """image (B,3,H,W) RGB 0..255 -> [(B,16w,H/16,W/16), (B,8w,H/8,W/8), (B,4w,H/4,W/4)]."""
        x = F.relu(self.bn1(self.conv1((image - self.mean) / self.std)))
        x = F.max_pool2d(x, 3, 2, padding=1)
        maps = []
        for name in self.stages:
            x = self.get_submodule(name)(x)
            maps.append(x)
        return maps[::-1]

    def train(self, mode: bool = True) -> ResNet:
        """Stays in eval mode: the statistics of the base are never touched."""
        return super().train(False)


def _stage(in_dim: int, width: int, count: int, stride: int) -> nn.Sequential:
    out_dim = Bottleneck.expansion * width
    shortcut = nn.Sequential(
        nn.Conv2d(in_dim, out_dim, 1, stride, bias=False), nn.BatchNorm2d(out_dim)
    )
    first = Bottleneck(in_dim, width, stride, shortcut)
    return nn.Sequential(first, *(Bottleneck(out_dim, width) for _ in range(count - 1)))
