"""VocAlign on the frames of one buffer: the training half of a round."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor

from acclimate.adapt.augment import Jitter, colour_jitter, flip, flip_flags
from acclimate.adapt.ema import EmaTeacher
from acclimate.adapt.lora import lora_tensors, network_of
from acclimate.adapt.masking import block_mask, draw
from acclimate.adapt.vocalign import (
    aggregate,
    class_balance,
    mean_activation,
    pixel_weights,
    pseudo_label_loss,
    pseudo_labels,
    top_k,
)
from acclimate.configs.schema import AdaptConfig
from acclimate.configs.vocabulary import Vocabulary
from acclimate.errors import Diverged
from acclimate.model.load import BaseModel
from acclimate.model.text import embed_strings

PAST_WARMUP = 10**6
Frames = Sequence[NDArray[np.uint8]]
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Trained:
    """What the round's report says of its training; the adapter itself is in the model."""

    steps: int
    losses: tuple[float, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


class Words:
    """The served vocabulary on torch's side, embedded anew as the text tower moves."""

    def __init__(self, base: BaseModel, vocabulary: Vocabulary) -> None:
        self.base, self.strings, self.digest = base, vocabulary.strings, vocabulary.digest
        self.templates = vocabulary.templates_for(base.templates)
        self.owner = torch.from_numpy(vocabulary.string_to_class())
        self.safety = [i for i, c in enumerate(vocabulary.classes) if c.safety]

    def embed(self) -> Tensor:
        """Features (S, 1, C) of every string, differentiable."""
        network = self.base.network
        return embed_strings(network, self.strings, self.templates, self.base.known)

    def of_classes(self, classes: Tensor) -> Tensor:
        """Ids of the strings that stand for `classes` (K,)."""
        return self.owner[:, classes].sum(1).nonzero().squeeze(1)


def train_round(
    model: PeftModel, words: Words, frames: Frames, settings: AdaptConfig,
    seed: int, progress: Progress,
) -> Trained:  # fmt: skip
    """Adapt `model`'s LoRA to `frames` (H, W, 3); stops early at 80 % of the deadline.

    The learning rate falls linearly to 0, so that a round ends settled.
    The student learns the teacher's class labels on jittered, masked, mirrored views; the teacher
    is the moving average of the student and sees clean frames. Raises Diverged.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    student = lora_tensors(model)
    teacher = EmaTeacher(student, settings.ema)
    optimiser = torch.optim.AdamW(student.values(), lr=settings.lr, weight_decay=1e-4)
    valid = hood_mask(settings, frames[0].shape[:2])
    started, losses = time.monotonic(), []
    for step in range(settings.steps):
        if time.monotonic() - started > 0.8 * settings.deadline_s:
            break
        for group in optimiser.param_groups:
            group["lr"] = settings.lr * (1 - step / settings.steps)
        teacher.update(student, step if settings.ema_warmup else step + PAST_WARMUP)
        images = _batch(frames, settings.batch, generator)
        with teacher.applied_to(student):
            labels, weights, ids = _teach(model, words, images, settings, valid)
        optimiser.zero_grad()
        loss = _learn(model, words, images, (labels, weights, ids), settings, generator)
        torch.nn.utils.clip_grad_norm_(student.values(), 1.0)
        optimiser.step()
        losses.append(loss)
        progress(step + 1, loss)
    if not all(bool(value.isfinite().all()) for value in student.values()):
        raise Diverged("the adapter is not finite after training; lower adapt.lr")
    return Trained(len(losses), tuple(losses), time.monotonic() - started)


@torch.no_grad()
def _teach(
    model: PeftModel, words: Words, images: Tensor, settings: AdaptConfig, valid: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Clean images -> local labels (B,H,W), loss weights (B,H,W), kept class ids (B,K)."""
    network, text = network_of(model), words.embed()
    size = (images.shape[-2], images.shape[-1])
    probability = aggregate(network(images, text), words.owner, size)
    mirrored = aggregate(network(images.flip(-1), text), words.owner, size).flip(-1)
    probability = (probability + mirrored) / 2
    ids = top_k(mean_activation(probability, valid), settings.top_k, words.safety)
    labels = pseudo_labels(
        probability, ids, valid, floor=settings.tau, ignore_pruned=settings.ignore_pruned
    )
    weights = class_balance(labels.class_ids, settings.balance)
    if (q := pixel_weights(settings.weighting, labels.prob, settings.tau, valid)) is not None:
        weights = weights * q
    return labels.local, weights, ids


def _learn(
    model: PeftModel, words: Words, images: Tensor, taught: tuple[Tensor, Tensor, Tensor],
    settings: AdaptConfig, generator: torch.Generator,
) -> float:  # fmt: skip
    """One student pass an image, so that each may keep its own classes; gradients add up."""
    labels, weights, ids = taught
    flags = flip_flags(len(images), generator)
    views, labels, weights = flip(images, flags), flip(labels, flags), flip(weights, flags)
    strength = settings.jitter
    views = colour_jitter(views, Jitter(strength, strength, strength, strength / 4), generator)
    size = (views.shape[-2], views.shape[-1])
    noise = draw(len(views), size, settings.mask_block, generator)
    views = views * block_mask(noise, size, settings.mask_block, settings.mask_ratio)
    network, total = network_of(model), 0.0
    for image, target, weight, kept in zip(views, labels, weights, ids, strict=True):
        strings = words.of_classes(kept)
        logits = network(image[None], words.embed()[strings])
        classes = class_logits(logits, words.owner[strings][:, kept])
        loss = pseudo_label_loss(classes, target[None], weight[None]) / len(images)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def class_logits(logits: Tensor, owner: Tensor) -> Tensor:
    """String logits (B,S,h,w), one-hot (S,K) -> class logits (B,K,h,w).

    The log of summed exponentials, so that their softmax is the sum of Eq. 7.
    """
    lost = torch.where(owner.T[None, :, :, None, None] > 0, 0.0, -torch.inf)
    return (logits[:, None] + lost).logsumexp(2)


def hood_mask(settings: AdaptConfig, size: Sequence[int]) -> Tensor:
    """Bool (1, H, W): False inside the hood's polygons."""
    height, width = size[:2]
    mask = np.ones((height, width), np.uint8)
    for polygon in settings.hood:
        points = np.array(polygon) * (width, height)
        cv2.fillPoly(mask, [points.round().astype(np.int32)], (0,))
    return torch.from_numpy(mask).bool()[None]


def _batch(frames: Frames, size: int, generator: torch.Generator) -> Tensor:
    chosen = torch.randint(len(frames), (size,), generator=generator).tolist()
    return to_images([frames[i] for i in chosen])


def to_images(frames: Frames) -> Tensor:
    """Frames (H, W, 3) uint8 -> (B, 3, H, W) float32, 0..255."""
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float()
