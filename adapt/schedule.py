"""The learning rate over a round."""

from __future__ import annotations

import math

from acclimate.configs.adapt import AdaptConfig


def rate(settings: AdaptConfig, step: int) -> float:
    """The rate of `step` (from 0): warm-up times fall, of which linear and cosine end at 0."""
    return settings.lr * (_fall(settings, step / settings.steps) * _warmup(settings, step))


def _fall(settings: AdaptConfig, done: float) -> float:
    if settings.schedule == "linear":
        return 1 - done
    return (1 + math.cos(math.pi * done)) / 2 if settings.schedule == "cosine" else 1.0


def _warmup(settings: AdaptConfig, step: int) -> float:
    if step >= settings.warmup_steps:
        return 1.0
    start = settings.warmup_from
    return start + (1 - start) * step / settings.warmup_steps
