"""What every way of adapting is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from peft import PeftModel
from torch import Tensor

from acclimate.adapt.batch import Batch
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig
from acclimate.model.colour import UNCHANGED


def _unscaled() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", enabled=False)


@dataclass(frozen=True)
class Setup:
    """Given once a round. `age`: steps that the accepted adapter has been trained for so far;
    `scaler`: for gradients in float16, else it hands them through; `daylight` (7,3): colours
    of the teacher's second look, see AdaptConfig.teacher_colour."""

    model: PeftModel
    words: Words
    settings: AdaptConfig
    generator: torch.Generator
    optimiser: torch.optim.Optimizer
    age: int = 0
    scaler: torch.amp.GradScaler = field(default_factory=_unscaled)
    daylight: Tensor = field(default_factory=lambda: torch.from_numpy(UNCHANGED))


@dataclass(frozen=True)
class Step:
    """The batch's loss, and how many pixels the student gave to each class: (T,) int64."""

    loss: float
    said: Tensor


class Strategy(Protocol):
    """One way of adapting. The round sets rates, clips and steps; the strategy gives gradients."""

    def step(self, batch: Batch) -> Step:
        """Add the gradients of one batch to the adapter's tensors; raises Diverged."""
        ...
