"""The served graph: frames, texts and adapted projections in; labels and signals out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from acclimate.model.catseg import CATSeg
from acclimate.model.colour import recolour
from acclimate.model.inference import KERNEL, class_probabilities, merge_windows, sliding_views
from acclimate.model.projections import projection_names

OUTPUTS = ("labels", "confidence", "histogram", "embedding", "probability")


class ServingGraph(nn.Module):
    """What the engine computes for N frames of one size.

    `forward` takes frame (N,H,W,3) uint8, text (S,P,C), string_to_class (S,T), colour (7,3) of
    `acclimate.model.colour`, and the projection weights in `projection_names` order. It returns
    labels (N,H,W) uint8, confidence (N,3) = mean top probability, share of pixels at 0.5 or
    more, mean entropy / ln T; histogram (N,T) of the labels; embedding (N,2W) of the frames as they
    came, from frozen layers only, so that an adapter cannot move its own index; probability (N,H,W)
    of each pixel's label, for who asks for it. `sliding`: four windows and an overview of each
    frame, as v2 is evaluated, in place of one view.
    """

    def __init__(self, network: CATSeg, blocks: int, sliding: bool = False) -> None:
        super().__init__()
        self.look = _Look(network, sliding)
        self.names = tuple(projection_names(blocks).values())

    def forward(
        self, frame: Tensor, text: Tensor, string_to_class: Tensor, colour: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """See the class."""
        image = frame.float().permute(0, 3, 1, 2)
        adapted = dict(zip(self.names, weights, strict=True))
        probability, tokens = functional_call(
            self.look, {f"network.{k}": v for k, v in adapted.items()},
            (image, recolour(image, colour), text, string_to_class),
        )  # fmt: skip
        labels, confidence, histogram, top = _summary(probability)
        return labels, confidence, histogram, appearance_embedding(tokens), top


class _Look(nn.Module):
    def __init__(self, network: CATSeg, sliding: bool) -> None:
        super().__init__()
        self.network, self.sliding = network, sliding

    def forward(
        self, image: Tensor, coloured: Tensor, text: Tensor, owner: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Images (N,3,H,W) -> probabilities (N,T,H,W), and the tokens (N,1+hw,W) of `image`."""
        see = self._sliding if self.sliding else self._whole
        probability = see(coloured, text, owner)
        return probability, self.network.tokens(self.network.preprocess(image))

    def _whole(self, image: Tensor, text: Tensor, owner: Tensor) -> Tensor:
        logits = self.network(image, text)
        return class_probabilities(logits, owner, (image.shape[-2], image.shape[-1]))

    def _sliding(self, images: Tensor, text: Tensor, owner: Tensor) -> Tensor:
        size = (images.shape[-2], images.shape[-1])
        found = []
        for image in images.split(1):
            features = self.network.features(sliding_views(self.network, image))
            logits = self.network.decode(features, text)
            windows = class_probabilities(logits, owner, (KERNEL, KERNEL))
            found.append(merge_windows(windows, size))
        return torch.stack(found)


def appearance_embedding(tokens: Tensor) -> Tensor:
    """Tokens before block 0 (B,1+hw,W) -> mean and spread over patches (B,2W), L2-normalised."""
    patches = tokens[:, 1:]
    spread = ((patches - patches.mean(1, keepdim=True)) ** 2).mean(1).sqrt()
    return F.normalize(torch.cat([patches.mean(1), spread], -1), dim=-1)


def _summary(probability: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Probability (N,T,H,W) -> labels, confidence, histogram, top probability of each frame."""
    top, labels = probability.max(1)
    # Not log(p + 1e-9): the exporter's optimiser takes that addend for a zero.
    entropy = -(probability * probability.clamp(min=1e-9).log()).sum(1).mean((1, 2))
    entropy = entropy / torch.ones_like(probability[0, :, 0, 0]).sum().log()  # T is not fixed
    confidence = torch.stack([top.mean((1, 2)), (top >= 0.5).float().mean((1, 2)), entropy], 1)
    one_hot = labels[:, None] == torch.arange(probability.shape[1])[:, None, None]
    return labels.to(torch.uint8), confidence, one_hot.float().mean((2, 3)), top
