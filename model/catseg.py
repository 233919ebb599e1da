"""CAT-Seg v2 (v1 derives from it): CLIP features and texts in, a logit plane per string out.

Source: KU-CVLAB/CAT-Seg @6d3a188, cat_seg/cat_seg_model.py and modeling/transformer/,
behaviour re-implemented; the value-only last block and folded padding are exact rewrites.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acclimate.errors import ConfigError
from acclimate.model.aggregator import AggregatorLayer
from acclimate.model.chunks import CLASSES, in_chunks
from acclimate.model.clip import CLIP
from acclimate.model.config import CATSegConfig
from acclimate.model.decoder import Up

CLIP_MEAN = (122.7709383, 116.7460125, 104.09373615)
CLIP_STD = (68.5005327, 66.6321579, 70.3231630)
NOT_SELECTED = -100.0
Guidance = tuple[Tensor, ...]


@dataclass(frozen=True)
class Features:
    """What the image gives: dense (B,1+hw,C), guidance maps at 1, 2 and 4 times the cost grid
    (B,.,h,w), (B,.,2h,2w), (B,.,4h,4w), and the tokens before block 0 (B,1+hw,W)."""

    dense: Tensor
    guidance: Guidance
    tokens: Tensor


class Aggregator(nn.Module):
    """Cost volume -> class logits; parameter names follow the official file."""

    def __init__(self, config: CATSegConfig) -> None:
        super().__init__()
        self.pad_len, self.templates = config.pad_len, config.num_templates
        hidden, (d1, d2) = config.hidden_dim, config.decoder_dims
        (g1, g2), (p1, p2) = config.decoder_guidance_dims, config.decoder_guidance_proj_dims
        self.conv1 = nn.Conv2d(config.num_templates * config.template_tiles, hidden, 7, padding=3)
        self.guidance_projection = _projection(config.guidance_dim, config.appearance_proj_dim)
        self.text_guidance_projection = nn.Sequential(
            nn.Linear(config.embed_dim, config.text_proj_dim), nn.ReLU()
        )
        self.decoder_guidance_projection = nn.ModuleList([_projection(g1, p1), _projection(g2, p2)])
        self.layers = nn.ModuleList([AggregatorLayer(config) for _ in range(config.num_layers)])
        self.decoder1 = Up(hidden, d1, p1)
        self.decoder2 = Up(d1, d2, p2)
        self.head = nn.Conv2d(d2, 1, 3, padding=1)

    def forward(self, image: Tensor, text: Tensor, guidance: Guidance) -> Tensor:
        """image (B,C,h,w), text (B,T,P,C), guidance as in Features -> logits (B,T,4h,4w)."""
        cost = cost_volume(image, text)
        classes = text.shape[1]
        if not self.pad_len or classes <= self.pad_len:
            return self._aggregate(cost, text, guidance)
        score = cost.permute(0, 2, 1, 3, 4).flatten(2).max(-1).values
        chosen = score.topk(self.pad_len, sorted=False).indices
        text = text.gather(1, chosen[..., None, None].expand(-1, -1, *text.shape[2:]))
        some = self._aggregate(cost_volume(image, text), text, guidance)
        full = some.new_full((len(some), classes, *some.shape[2:]), NOT_SELECTED)
        return full.scatter(1, chosen[..., None, None].expand_as(some), some)

    def embed(self, cost: Tensor) -> Tensor:
        """Cost volume (B,P,T,h,w) -> (B,hidden,T,h,w).

        Templates that conv1 wants to see several times meet the sum of those weights instead.
        """
        p = cost.shape[1]
        if p not in (self.templates, self.conv1.in_channels):
            raise ConfigError([f"text of {p} templates; this network takes {self.templates}"])
        weight = self.conv1.weight.unflatten(1, (-1, p)).sum(1)
        planes = cost.permute(0, 2, 1, 3, 4).flatten(0, 1)
        x = F.conv2d(planes, weight, self.conv1.bias, padding=3)
        return x.unflatten(0, (-1, cost.shape[2])).permute(0, 2, 1, 3, 4)

    def _aggregate(self, cost: Tensor, text: Tensor, guidance: Guidance) -> Tensor:
        x = in_chunks(self.embed, cost, 2, CLASSES)
        appearance = self.guidance_projection(guidance[0])
        mean = text.mean(2)
        words = self.text_guidance_projection(mean / mean.norm(dim=-1, keepdim=True))
        for layer in self.layers:
            x = layer(x, appearance, words)
        near, fine = (
            project(res)
            for project, res in zip(self.decoder_guidance_projection, guidance[1:], strict=True)
        )
        return in_chunks(lambda part: self._decode(part, near, fine), x.transpose(1, 2), 1, CLASSES)

    def _decode(self, x: Tensor, near: Tensor, fine: Tensor) -> Tensor:
        """x (B,T,hidden,h,w), projected guidance (B,.,2h,2w), (B,.,4h,4w) -> logits (B,T,4h,4w)."""
        planes = self.decoder1(x.flatten(0, 1), near)
        logits = _one_plane(self.head, self.decoder2(planes, fine))
        return logits.squeeze(1).unflatten(0, (len(x), -1))


class CATSeg(nn.Module):
    """The whole network. `forward` maps images and text features to low-resolution logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: CATSegConfig) -> None:
        super().__init__()
        self.config = config
        self.clip = CLIP(config)
        self.aggregator = Aggregator(config)
        self._add_guidance(config)
        self.register_buffer("mean", torch.tensor(CLIP_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(CLIP_STD).view(3, 1, 1), persistent=False)

    def _add_guidance(self, config: CATSegConfig) -> None:
        width, (near, fine) = config.vision_width, config.decoder_guidance_dims
        self.upsample1 = nn.ConvTranspose2d(width, near, 2, 2)
        self.upsample2 = nn.ConvTranspose2d(width, fine, 4, 4)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """image (B,3,H,W) RGB 0..255, text (T,P,C) or (B,T,P,C) -> logits (B,T,4h,4w)."""
        return self.decode(self.features(self.preprocess(image)), text)

    def preprocess(self, image: Tensor) -> Tensor:
        """Normalise, zero-pad right and below to a multiple of 32, squash to the network size."""
        x = (image - self.mean) / self.std
        h, w = x.shape[-2:]
        x = F.pad(x, (0, math.ceil(w / 32) * 32 - w, 0, math.ceil(h / 32) * 32 - h))
        if x.shape[-2:] == self.config.image_size:
            return x
        return F.interpolate(x, self.config.image_size, mode="bilinear", align_corners=False)

    def features(self, image: Tensor) -> Features:
        """Preprocessed image (B,3,H,W) -> image features."""
        tokens = self.tokens(image)
        dense, hooks = self.clip.visual.encode(tokens)
        res4 = self.upsample1(self._to_map(hooks[0]))
        res5 = self.upsample2(self._to_map(hooks[1]))
        return Features(dense, (self._to_map(dense), res4, res5), tokens)

    def tokens(self, image: Tensor) -> Tensor:
        """Preprocessed image (B,3,H,W) -> tokens before block 0 (B,1+hw,W)."""
        tokens: Tensor = self.clip.visual.embed(image)
        return tokens

    def decode(self, features: Features, text: Tensor) -> Tensor:
        """Image features and text (T,P,C) or (B,T,P,C) -> logits (B,T,4h,4w)."""
        if text.dim() == 3:
            text = text.expand(len(features.dense), -1, -1, -1)
        logits: Tensor = self.aggregator(self._to_map(features.dense), text, features.guidance)
        return logits

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids (N, 77) -> L2-normalised features (N, C)."""
        return F.normalize(self.clip.text(tokens), dim=-1)

    def _to_map(self, tokens: Tensor) -> Tensor:
        """(B, 1+hw, C) with CLS -> (B, C, h, w)."""
        return tokens[:, 1:].transpose(1, 2).unflatten(-1, self.config.grid)


def cost_volume(image: Tensor, text: Tensor) -> Tensor:
    """Cosine of image (B,C,h,w) and text (B,T,P,C) -> (B,P,T,h,w); no logit scale."""
    image = F.normalize(image, dim=1)
    text = F.normalize(text, dim=-1)
    return torch.einsum("bchw,btpc->bpthw", image, text)


def _one_plane(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 3x3 convolution to one channel, written as the transposed one with the turned kernel.

    The same sums; a convolution to so few channels is slow on a processor.
    """
    return F.conv_transpose2d(x, conv.weight.flip(2, 3).transpose(0, 1), conv.bias, padding=1)


def _projection(in_dim: int, out_dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_dim, out_dim, 3, padding=1), nn.ReLU())
