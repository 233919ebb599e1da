"""A strategy with its optimiser, draws and watch: what takes steps, and can go on after a stop."""

from __future__ import annotations

from dataclasses import replace

import torch
from peft import PeftModel
from torch import Tensor

from acclimate.adapt.anchor import distance_to_base
from acclimate.adapt.batch import Batch
from acclimate.adapt.compute import Compute
from acclimate.adapt.lora import lora_tensors
from acclimate.adapt.monitor import Monitor
from acclimate.adapt.replay import Replay
from acclimate.adapt.schedule import rate
from acclimate.adapt.source import Scenes
from acclimate.adapt.strategies import STRATEGIES, Setup, Step
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig
from acclimate.model.chunks import recomputing
from acclimate.model.colour import UNCHANGED


class Learner:
    """Moves `adapter`, the LoRA of `model`, and nothing else; `taken` steps so far.

    All chance comes from `generator`, on the CPU whatever the device.
    """

    def __init__(
        self, compute: Compute, model: PeftModel, words: Words, settings: AdaptConfig, seed: int,
        age: int = 0, daylight: Tensor | None = None, scenes: Scenes | None = None,
    ) -> None:  # fmt: skip
        """`scenes`: replayed beside each batch, of which they take `settings.replay` places."""
        replayed = settings.replayed if scenes else 0
        settings = replace(settings, batch=settings.batch - replayed)
        self.compute, self.settings, self.taken = compute, settings, 0
        self.generator = torch.Generator().manual_seed(seed)
        self.adapter = lora_tensors(model)
        optimiser = torch.optim.AdamW(
            self.adapter.values(), lr=settings.lr, weight_decay=settings.weight_decay
        )
        scaler = compute.scaler()
        look = torch.from_numpy(UNCHANGED) if daylight is None else daylight
        self.setup = Setup(model, words, settings, self.generator, optimiser, age, scaler, look)
        self.strategy = STRATEGIES[settings.strategy](self.setup)
        self.watch = Monitor(settings, words.names)
        self.replay = Replay(self.setup, scenes, replayed) if scenes and replayed else None

    def step(self, batch: Batch) -> Step:
        """Learn from a batch on the compute's device; raises Diverged."""
        self.setup.optimiser.zero_grad()
        with recomputing(self.settings.checkpointing), self.compute.autocast():
            done = self.strategy.step(batch)
            if self.replay is not None:
                self.replay.step(batch)
        self.watch(self.taken + 1, done)
        self._move(rate(self.settings, self.taken))
        self.taken += 1
        return done

    def _move(self, lr: float) -> None:
        """One step of the optimiser along the strategy's gradients and the pull to the base."""
        setup, settings = self.setup, self.settings
        if settings.anchor:
            setup.scaler.scale(settings.anchor * distance_to_base(setup.model)).backward()
        if all(value.grad is None for value in self.adapter.values()):
            return
        setup.scaler.unscale_(setup.optimiser)
        for group in setup.optimiser.param_groups:
            group["lr"] = lr
        if settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.adapter.values(), settings.clip_norm)
        setup.scaler.step(setup.optimiser)
        setup.scaler.update()
