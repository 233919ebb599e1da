"""VocAlign: the student learns, on hard views, what a teacher with more words sees on clean ones.

Source: the paper (arXiv 2509.15225) and Sisso16/VocAlign @ 4f2ed57, `teacher_module.py` and
`uda_decorator.py`; every choice is a setting of AdaptConfig.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from acclimate.adapt.augment import flip, flip_flags
from acclimate.adapt.batch import Batch
from acclimate.adapt.ema import EmaTeacher
from acclimate.adapt.lora import lora_tensors
from acclimate.adapt.strategy import Setup, Step
from acclimate.adapt.views import (
    count_classes,
    student_logits,
    student_texts,
    student_view,
    teacher_probability,
)
from acclimate.adapt.vocalign import (
    class_balance,
    mean_activation,
    pixel_weights,
    pseudo_label_loss,
    pseudo_labels,
    top_k,
)
from acclimate.configs.adapt import AdaptConfig

PAST_WARMUP = 10**6


@dataclass(frozen=True)
class Taught:
    """Labels (B,H,W) among the student's classes, loss weights (B,H,W), those classes (B,K)."""

    labels: Tensor
    weights: Tensor
    classes: Tensor

    def mirrored(self, flags: Tensor) -> Taught:
        """With the flagged images turned over."""
        labels, weights = flip(self.labels, flags), flip(self.weights, flags)
        return replace(self, labels=labels, weights=weights)


class VocAlign:
    """The whole method; `adapt.strategies` makes its ablations by leaving parts out."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.adapter = setup, lora_tensors(setup.model)
        self.teacher = EmaTeacher(self.adapter, setup.settings.ema)
        self.taken = 0 if setup.settings.ema_warmup else PAST_WARMUP

    def step(self, batch: Batch) -> Step:
        """The teacher follows, teaches, and the student learns."""
        self.teacher.update(self.adapter, self.taken)
        self.taken += 1
        with self.teacher.applied_to(self.adapter):
            probability = teacher_probability(self.setup, batch.images)
        taught = teach(probability, batch.valid, self.setup.settings, self.setup.words.safety)
        return learn(self.setup, batch, taught)


def learn(setup: Setup, batch: Batch, taught: Taught) -> Step:
    """One student pass an image, so that each may keep its own classes; gradients add up."""
    generator = setup.generator
    flags = flip_flags(len(batch.images), generator, setup.settings.flip)
    clean, seen, taught = (
        flip(batch.images, flags), flip(batch.valid, flags), taught.mirrored(flags),
    )  # fmt: skip
    views = student_view(clean, setup.settings, generator)
    total, said = 0.0, torch.zeros(len(setup.words.names), dtype=torch.long)
    texts = student_texts(setup, taught.classes)
    for i, kept in enumerate(taught.classes):
        logits = student_logits(setup, texts, views[i : i + 1], kept, clean[i : i + 1])
        target, weight = taught.labels[i : i + 1], taught.weights[i : i + 1]
        loss = pseudo_label_loss(logits, target, weight) / len(views)
        setup.scaler.scale(loss).backward()
        total += loss.item()
        said += count_classes(logits, kept, seen[i], len(said))
    texts.backward()
    return Step(total, said)


def teach(probability: Tensor, valid: Tensor, settings: AdaptConfig, safety: list[int]) -> Taught:
    """Class probabilities (B,T,H,W), valid (B,H,W) -> what the student is to learn from them."""
    classes, keep = probability.shape[1], safety if settings.keep_safety else []
    kept = top_k(mean_activation(probability, valid), min(settings.top_k, classes), keep)
    labels = pseudo_labels(
        probability, kept, valid, settings.tau if settings.ignore_unsure else None,
        settings.ignore_pruned, settings.tau_strict,
    )  # fmt: skip
    weights = class_balance(labels.class_ids, settings.balance)
    q = pixel_weights(settings.weighting, labels.prob, settings.tau, valid, settings.tau_strict)
    weights = weights if q is None else weights * q
    if settings.prune_student:
        return Taught(labels.local, weights, kept)
    return Taught(
        labels.class_ids, weights, torch.arange(classes, device=kept.device).expand(len(kept), -1)
    )
