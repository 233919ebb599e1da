"""Ways from logits and images to class probabilities.

Source: KU-CVLAB/CAT-Seg @6d3a188, cat_seg/cat_seg_model.py (inference paths).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.model.catseg import CATSeg

CANVAS, KERNEL, STRIDE = 640, 384, 256


def whole_image(network: CATSeg, image: Tensor, text: Tensor, size: tuple[int, int]) -> Tensor:
    """image (1,3,H,W) RGB 0..255, text (T,P,C) -> sigmoid probabilities (T, *size)."""
    probability = network(image, text).sigmoid()
    return _resize(probability, size)[0]


def sliding_windows(network: CATSeg, image: Tensor, text: Tensor, size: tuple[int, int]) -> Tensor:
    """Four overlapping crops of a 640 canvas and a global view; probabilities averaged."""
    views = sliding_views(network, image)
    logits = torch.cat([network.decode(network.features(view[None]), text) for view in views])
    probability = _resize(logits, (KERNEL, KERNEL)).sigmoid()
    tiles = probability[:4].flatten(1).T[None]
    folded = F.fold(tiles, CANVAS, KERNEL, stride=STRIDE)
    count = F.fold(torch.ones_like(tiles), CANVAS, KERNEL, stride=STRIDE)
    overview = _resize(probability[4:], (CANVAS, CANVAS))
    return _resize((folded / count + overview) / 2, size)[0]


def sliding_views(network: CATSeg, image: Tensor) -> Tensor:
    """image (1,3,H,W) -> normalised crops (row-major) and global view (5,3,h,w)."""
    canvas = _resize(image, (CANVAS, CANVAS))
    crops = F.unfold(canvas, KERNEL, stride=STRIDE)[0].T.unflatten(1, (3, KERNEL, KERNEL))
    views = torch.cat([crops, _resize(image, (KERNEL, KERNEL))])
    return _resize((views - network.mean) / network.std, network.config.image_size)


def class_probabilities(logits: Tensor, string_to_class: Tensor, size: tuple[int, int]) -> Tensor:
    """logits (B,S,h,w) -> (B,T,*size): upsample, softmax over strings, sum per class (Eq. 7)."""
    full = F.interpolate(logits, size, mode="bilinear", align_corners=False).softmax(1)
    return torch.einsum("bshw,st->bthw", full, string_to_class)


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
