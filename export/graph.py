"""The served graph: frame, texts and adapted projections in; labels and signals out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from acclimate.model.catseg import CATSeg
from acclimate.model.colour import recolour
from acclimate.model.inference import class_probabilities
from acclimate.model.projections import projection_names

OUTPUTS = ("labels", "confidence", "histogram", "embedding", "probability")


class ServingGraph(nn.Module):
    """What the engine computes for one frame.

    `forward` takes frame (H,W,3) uint8, text (S,P,C), string_to_class (S,T), colour (2,3) = factor
    and offset of each channel, and the projection weights in `projection_names` order. It returns
    labels (H,W) uint8, confidence (3,) = mean top probability, share of pixels at 0.5 or more,
    mean entropy / ln T; histogram (T,) of the labels; embedding (2W,) of the frame as it came, from
    frozen layers only, so that an adapter cannot move its own index; probability (H,W) of each
    pixel's label, for who asks for it.
    """

    def __init__(self, network: CATSeg, blocks: int) -> None:
        super().__init__()
        self.network = network
        self.names = tuple(projection_names(blocks).values())

    def forward(
        self, frame: Tensor, text: Tensor, string_to_class: Tensor, colour: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """See the class."""
        image = frame.float().permute(2, 0, 1)[None]
        adapted = dict(zip(self.names, weights, strict=True))
        logits, tokens = functional_call(
            _Logits(self.network), {f"network.{k}": v for k, v in adapted.items()},
            (image, recolour(image, colour), text),
        )  # fmt: skip
        probability = class_probabilities(logits, string_to_class, (frame.shape[0], frame.shape[1]))
        labels, confidence, histogram, top = _summary(probability[0])
        return labels, confidence, histogram, appearance_embedding(tokens)[0], top


class _Logits(nn.Module):
    def __init__(self, network: CATSeg) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, coloured: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network.features(self.network.preprocess(coloured))
        as_it_came = self.network.tokens(self.network.preprocess(image))
        return self.network.decode(features, text), as_it_came


def appearance_embedding(tokens: Tensor) -> Tensor:
    """Tokens before block 0 (B,1+hw,W) -> mean and spread over patches (B,2W), L2-normalised."""
    patches = tokens[:, 1:]
    spread = ((patches - patches.mean(1, keepdim=True)) ** 2).mean(1).sqrt()
    return F.normalize(torch.cat([patches.mean(1), spread], -1), dim=-1)


def _summary(probability: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Probability (T,H,W) -> labels, confidence, histogram, top probability."""
    top, labels = probability.max(0)
    classes = probability.shape[0]
    # Not log(p + 1e-9): the exporter's optimiser takes that addend for a zero.
    entropy = -(probability * probability.clamp(min=1e-9).log()).sum(0).mean()
    entropy = entropy / torch.ones_like(probability[:, 0, 0]).sum().log()  # T is not fixed
    confidence = torch.stack([top.mean(), (top >= 0.5).float().mean(), entropy])
    one_hot = labels[None] == torch.arange(classes)[:, None, None]
    return labels.to(torch.uint8), confidence, one_hot.float().mean((1, 2)), top
