"""Ways of adapting without a gate: what they learn in a segment serves from then on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from acclimate.adapt.lora import adapter_for, lora_tensors, network_of
from acclimate.adapt.replay import looks
from acclimate.adapt.source import Scenes
from acclimate.adapt.temperature import temperature_for
from acclimate.adapt.train import train_round
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig, StrategyName, preset
from acclimate.configs.vocabulary import Vocabulary
from acclimate.errors import Diverged
from acclimate.model.colour import UNCHANGED, colour_of
from acclimate.model.load import load_base
from acclimate.model.projections import merged_projections
from acclimate.runtime.bundle import Arrays, Bundle

BLOCKS = 5  # as many as any of them adapts: the engine must take them
RESET = 30  # RDumb's 1000 steps would never come round on streams of 100


def baseline(strategy: StrategyName) -> AdaptConfig:
    """A strategy under our optimiser, in the stream's own colours, with no watch over it."""
    return preset(
        "continual", strategy=strategy, colour="plain", teacher_colour="plain", rdumb_steps=RESET,
        max_class_share=1.0, min_entropy=0.0, replay=0,
    )  # fmt: skip


UNGATED = {
    "entropy": baseline("entropy"), "teacher_student": baseline("teacher_student"),
    "masking": baseline("masking"), "rdumb": baseline("rdumb"),
    "vocalign_paper": preset("paper"), "vocalign_released": preset("released"),
    "vocalign_continual": preset("continual", replay=0),
}  # fmt: skip


class Learned:
    """One line of adapters over a base: `learn` goes on from the last, whatever it is worth;
    `scenes` of the source are replayed."""

    def __init__(
        self, weights: str, vocabulary: Vocabulary, settings: AdaptConfig, steps: int,
        scenes: Scenes | None = None,
    ) -> None:  # fmt: skip
        self.settings = replace(settings, steps=steps, deadline_s=1e6, threads=1)
        self.base = load_base(weights)
        self.words = Words(self.base, vocabulary)
        self.model = adapter_for(self.base.network, self.settings)
        self.colour, self.age, self.scenes = UNCHANGED, 0, scenes

    def learn(self, frames: Sequence[NDArray[np.uint8]], seed: int) -> dict[str, Any]:
        """A round on frames (H,W,3) -> its seconds, last loss, distance from the base; one that
        diverges is undone."""
        started, settings = time.monotonic(), self.settings
        before = {name: value.detach().clone() for name, value in self._tensors().items()}
        colour = colour_of(self.base.daylight, settings.colour)
        seen, scenes = looks(frames, self.scenes, colour)
        self.words.temperature = self._temperature(seen)
        try:
            trained = train_round(
                self.model, self.words, seen, settings, seed, lambda *_: None, self.age, scenes
            )
        except Diverged as error:
            self._put_back(before)
            return {"error": str(error), "seconds": round(time.monotonic() - started, 2)}
        self.colour, self.age = colour, trained.age
        return {
            "steps": trained.steps, "loss": trained.losses[-1], "distance": trained.distance,
            "seconds": round(time.monotonic() - started, 2),
        }  # fmt: skip

    @torch.no_grad()
    def bundle(self, name: str) -> Bundle:
        """What an engine of BLOCKS blocks takes."""
        tensors = merged_projections(network_of(self.model), BLOCKS)
        inputs: Arrays = {key: value.numpy() for key, value in tensors.items()}
        inputs |= {
            "text": self.words.embed().numpy(), "string_to_class": self.words.owner.numpy(),
            "colour": self.colour,
        }  # fmt: skip
        empty = np.empty(0, np.uint8)
        return Bundle(name, {"base_digest": self.base.digest}, inputs, empty, empty)

    def _tensors(self) -> dict[str, torch.Tensor]:
        return lora_tensors(self.model)

    @torch.no_grad()
    def _temperature(self, frames: Sequence[NDArray[np.uint8]]) -> float:
        words = self.words
        return temperature_for(self.base, words.embed(), words.owner, frames, self.settings)

    @torch.no_grad()
    def _put_back(self, before: dict[str, torch.Tensor]) -> None:
        for name, value in self._tensors().items():
            value.copy_(before[name])
