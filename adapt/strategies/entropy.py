"""Entropy minimisation (Tent), as VocAlign's baseline: clean views, no teacher, no masks.

Source: Sisso16/VocAlign @ 4f2ed57, `TENTDecorator` and `entropy_minimization.py`. What it trained
there is not published; here it is the adapter, as for every strategy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.adapt.batch import Batch
from acclimate.adapt.strategy import Setup, Step
from acclimate.adapt.views import count_classes, student_logits, student_texts
from acclimate.adapt.vocalign import EPSILON, upsample
from acclimate.errors import Diverged


class Entropy:
    """The mean entropy of the valid pixels' class probabilities, in nats."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def step(self, batch: Batch) -> Step:
        """One pass an image; gradients add up."""
        every = torch.arange(len(self.setup.words.names), device=batch.images.device)
        total, said = 0.0, torch.zeros(len(every), dtype=torch.long)
        texts = student_texts(self.setup, every[None])
        for image, seen in zip(batch.images, batch.valid, strict=True):
            logits = student_logits(self.setup, texts, image[None], every, image[None])
            loss = mean_entropy(logits, seen) / len(batch.images)
            self.setup.scaler.scale(loss).backward()
            total += loss.item()
            said += count_classes(logits, every, seen, len(every))
        texts.backward()
        return Step(total, said)


def mean_entropy(logits: Tensor, seen: Tensor) -> Tensor:
    """Logits (1,K,h,w) -> mean entropy () of their softmax at the pixels `seen` (H,W), in nats.

    0 where nothing is seen. Raises Diverged when it is not finite.
    """
    height, width = seen.shape
    log_p = upsample(logits.float(), (height, width)).log_softmax(1)
    each = -(log_p.exp() * log_p).sum(1)[0]
    entropy = (each * seen).sum() / (seen.sum() + EPSILON)
    if not bool(entropy.isfinite()):
        raise Diverged(f"the entropy is {entropy.item()}; lower adapt.lr or start from the base")
    return entropy
