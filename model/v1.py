"""CAT-Seg v1, the mmsegmentation port that VocAlign adapts: a ResNet guides instead of CLIP.

Source: Sisso16/VocAlign @4f2ed57 (CLIPOVCATSeg, CATSegAggregator, CATSegHead), re-implemented.
The port mixes the guidance of different images when a batch holds more than one; here every
image keeps its own, so only batches of one can be compared with it.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from acclimate.model.catseg import CATSeg, Features
from acclimate.model.config import CATSegConfig
from acclimate.model.resnet import ResNet


class CATSegV1(CATSeg):
    """As CATSeg, but image crops must be `config.image_size`, the only size its guidance fits."""

    def _add_guidance(self, config: CATSegConfig) -> None:
        self.resnet = ResNet(config.resnet_blocks, config.resnet_width)

    def preprocess(self, image: Tensor) -> Tensor:
        """Squash to the network size; CLIP and ResNet normalise each in its own way."""
        if image.shape[-2:] == self.config.image_size:
            return image
        return F.interpolate(image, self.config.image_size, mode="bilinear", align_corners=False)

    def features(self, image: Tensor, guide: Tensor | None = None) -> Features:
        """Crops (B,3,H,W) RGB 0..255 of the network's size -> image features.

        The ResNet looks at `guide` if there is one: VocAlign's student hides blocks of the image
        from CLIP alone.
        """
        tokens = self.tokens(image)
        dense, _ = self.clip.visual.encode(tokens)
        return Features(dense, tuple(self.resnet(image if guide is None else guide)), tokens)

    def tokens(self, image: Tensor) -> Tensor:
        """Crops as `features` takes them -> tokens before block 0 (B,1+hw,W)."""
        return super().tokens((image - self.mean) / self.std)
