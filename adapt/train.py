"""The training half of a round: one strategy, step by step, on the frames of one buffer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from acclimate.adapt.anchor import distance_to_base, shrink
from acclimate.adapt.batch import Frames, draw_batch
from acclimate.adapt.budget import fitted
from acclimate.adapt.compute import Compute, compute_for, placed
from acclimate.adapt.hood import valid_pixels
from acclimate.adapt.learner import Learner
from acclimate.adapt.source import Scenes
from acclimate.adapt.uptime import Uptime
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig
from acclimate.errors import Diverged
from acclimate.model.colour import colour_of

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Trained:
    """What the round's report says of its training; the adapter itself is in the model.

    `age`: steps since the base along the line of adapters; `distance`: see `distance_to_base`;
    `fitted`: what was changed to keep within `adapt.memory_mb`, "" for nothing.
    """

    steps: int
    losses: tuple[float, ...]
    seconds: float
    age: int = 0
    distance: float = 0.0
    fitted: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def train_round(
    model: PeftModel, words: Words, frames: Frames, settings: AdaptConfig,
    seed: int, progress: Progress, age: int = 0, scenes: Scenes | None = None,
    valid: Tensor | None = None,
) -> Trained:  # fmt: skip
    """Adapt `model`'s LoRA to `frames` (H, W, 3); stops early at 80 % of the deadline.

    `scenes` of the source are replayed beside them. `valid` (N or 1, H, W) says which pixels
    count; if it is not given it is found in the frames, which then have to be all in the same
    colours and of one camera.
    `model` holds the accepted adapter, trained for `age` steps; the optimiser begins anew. Only the
    adapter moves: the base has no gradients and its statistics stay. Raises Diverged, OutOfMemory.
    """
    compute = compute_for(settings)
    valid = valid_pixels(settings, frames) if valid is None else valid
    settings = settings if scenes else replace(settings, replay=0)
    if settings.adapter_decay:
        shrink(model, settings.adapter_decay)
        age = 0 if settings.adapter_decay == 1 else age
    started = time.monotonic()
    with placed(model, words, compute.device), Uptime() as uptime:
        settings, told = fitted(settings, words, frames[0].shape[:2], compute.device)
        look = torch.from_numpy(colour_of(words.base.daylight, settings.teacher_colour))
        learner = Learner(compute, model, words, settings, seed, age, look, scenes)
        losses = _learn(learner, compute, frames, valid, uptime, progress)
    if not all(bool(value.isfinite().all()) for value in learner.adapter.values()):
        raise Diverged("the adapter is not finite after training; lower adapt.lr")
    distance = distance_to_base(model).item()
    seconds = time.monotonic() - started
    return Trained(len(losses), tuple(losses), seconds, age + len(losses), distance, told)


def _learn(
    learner: Learner, compute: Compute, frames: Frames, valid: Tensor, uptime: Uptime,
    progress: Progress,
) -> list[float]:  # fmt: skip
    """The loss of every step until all are taken or time is short."""
    settings, losses = learner.settings, list[float]()
    while learner.taken < settings.steps:
        if uptime.seconds > 0.8 * settings.deadline_s:
            break
        batch = draw_batch(frames, valid, settings, learner.generator)
        losses.append(learner.step(batch.to(compute.device)).loss)
        progress(learner.taken, losses[-1])
    return losses
