"""The training half of a round: one strategy, step by step, on the frames of one buffer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from peft import PeftModel

from acclimate.adapt.anchor import distance_to_base, shrink
from acclimate.adapt.batch import Frames, draw_batch
from acclimate.adapt.hood import valid_pixels
from acclimate.adapt.lora import lora_tensors
from acclimate.adapt.monitor import Monitor
from acclimate.adapt.schedule import rate
from acclimate.adapt.strategies import STRATEGIES, Setup
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig
from acclimate.errors import Diverged

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Trained:
    """What the round's report says of its training; the adapter itself is in the model.

    `age`: steps since the base along the line of adapters; `distance`: see `distance_to_base`.
    """

    steps: int
    losses: tuple[float, ...]
    seconds: float
    age: int = 0
    distance: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def train_round(
    model: PeftModel, words: Words, frames: Frames, settings: AdaptConfig,
    seed: int, progress: Progress, age: int = 0,
) -> Trained:  # fmt: skip
    """Adapt `model`'s LoRA to `frames` (H, W, 3); stops early at 80 % of the deadline.

    `model` holds the accepted adapter, trained for `age` steps; the optimiser begins anew. Only the
    adapter moves: the base has no gradients and its statistics stay. Raises Diverged.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    adapter = lora_tensors(model)
    if settings.adapter_decay:
        shrink(model, settings.adapter_decay)
        age = 0 if settings.adapter_decay == 1 else age
    optimiser = torch.optim.AdamW(
        adapter.values(), lr=settings.lr, weight_decay=settings.weight_decay
    )
    setup = Setup(model, words, settings, generator, optimiser, age)
    strategy, watch = STRATEGIES[settings.strategy](setup), Monitor(settings, words.names)
    valid = valid_pixels(settings, frames)
    started, losses = time.monotonic(), []
    for step in range(settings.steps):
        if time.monotonic() - started > 0.8 * settings.deadline_s:
            break
        optimiser.zero_grad()
        done = strategy.step(draw_batch(frames, valid, settings, generator))
        watch(step + 1, done)
        _move(setup, rate(settings, step))
        losses.append(done.loss)
        progress(step + 1, done.loss)
    if not all(bool(value.isfinite().all()) for value in adapter.values()):
        raise Diverged("the adapter is not finite after training; lower adapt.lr")
    distance = distance_to_base(model).item()
    seconds = time.monotonic() - started
    return Trained(len(losses), tuple(losses), seconds, age + len(losses), distance)


def _move(setup: Setup, lr: float) -> None:
    """One step of the optimiser along the strategy's gradients and the pull to the base."""
    settings, optimiser = setup.settings, setup.optimiser
    if settings.anchor:
        (settings.anchor * distance_to_base(setup.model)).backward()
    for group in optimiser.param_groups:
        group["lr"] = lr
    if settings.clip_norm:
        tensors = lora_tensors(setup.model).values()
        torch.nn.utils.clip_grad_norm_(tensors, settings.clip_norm)
    optimiser.step()
