"""Makes softmax thresholds mean something on a head that was trained with sigmoids.

CAT-Seg's own training gives each string a sigmoid of its own; a softmax over all of them is not
its calibrated quantity, and VocAlign's thresholds were set on softmax heads. Without labels, the
temperature is chosen so that the softmax is as sure on average as the head's own sigmoids.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acclimate.adapt.batch import Frames, to_images
from acclimate.configs.adapt import AdaptConfig
from acclimate.errors import Diverged
from acclimate.model.catseg import CATSeg
from acclimate.model.load import BaseModel

LOWEST, HIGHEST, HALVINGS, FRAMES = 0.01, 100.0, 40, 8


def temperature_for(
    base: BaseModel, text: Tensor, owner: Tensor, frames: Frames, settings: AdaptConfig
) -> float:
    """`adapt.temperature`, or if that is 0 the fitted one for a sigmoid head, 1 for a softmax head.

    `text` (S,P,C) and `owner` (S,T) are the served strings; at most FRAMES of `frames` are seen.
    """
    if settings.temperature or base.head == "softmax":
        return settings.temperature or 1.0
    count = min(FRAMES, len(frames))
    some = [frames[i * len(frames) // count] for i in range(count)]
    logits = _logits(base.network, text, some)
    return fit_temperature(logits, owner, sigmoid_confidence(logits))


def fit_temperature(logits: Sequence[Tensor], owner: Tensor, target: float) -> float:
    """String logits [(S,h,w)], one-hot `owner` (S,T) -> the temperature, LOWEST to HIGHEST, that
    makes the best class's mean probability `target`; it falls as the temperature rises."""
    low, high = LOWEST, HIGHEST
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        if softmax_confidence(logits, owner, middle) > target:
            low = middle
        else:
            high = middle
    return (low * high) ** 0.5


def softmax_confidence(logits: Sequence[Tensor], owner: Tensor, temperature: float) -> float:
    """Mean over pixels of the best class's summed probability."""
    tops = [
        torch.einsum("shw,st->thw", (x.double() / temperature).softmax(0), owner.double()).amax(0)
        for x in logits
    ]
    return torch.stack([top.mean() for top in tops]).mean().item()


def sigmoid_confidence(logits: Sequence[Tensor]) -> float:
    """Mean over pixels of the surest string's sigmoid."""
    return torch.stack([x.double().sigmoid().amax(0).mean() for x in logits]).mean().item()


@torch.no_grad()
def _logits(network: CATSeg, text: Tensor, frames: Frames) -> list[Tensor]:
    found = [network(to_images([frame]), text)[0] for frame in frames]
    if not all(bool(x.isfinite().all()) for x in found):
        raise Diverged("the accepted adapter's logits are not finite; roll back or quarantine it")
    return found
