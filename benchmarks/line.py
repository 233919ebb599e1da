"""A line of adapters over one base, without a gate: the next round goes on from whatever came out.

Its rounds take labels too, to see how far the same LoRA would get with a teacher that knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from acclimate.adapt.batch import Batch, draw_batch, to_images
from acclimate.adapt.compute import compute_for
from acclimate.adapt.learner import Learner
from acclimate.adapt.lora import adapter_for, network_of
from acclimate.adapt.strategies.vocalign import VocAlign, teach
from acclimate.adapt.strategy import Setup, Step
from acclimate.adapt.train import train_round
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig
from acclimate.configs.vocabulary import Vocabulary
from acclimate.model.colour import UNCHANGED, recolour_frame, towards_daylight
from acclimate.model.load import load_base
from acclimate.model.projections import merged_projections
from acclimate.runtime.bundle import Arrays, Bundle
from benchmarks.scenes import Frame


class Line:
    """`learn` round after round; `bundle` is what would serve then."""

    def __init__(self, vocabulary: Vocabulary, settings: AdaptConfig) -> None:
        self.base, self.settings = load_base(), settings
        self.words = Words(self.base, vocabulary)
        self.model = adapter_for(self.base.network, settings)
        self.colour = UNCHANGED

    def learn(self, frames: Sequence[Frame], seed: int) -> None:
        """A round on frames (H,W,3)."""
        seen = self._as_served(frames)
        train_round(self.model, self.words, seen, self.settings, seed, lambda step, loss: None)

    def learn_truth(self, frames: Sequence[Frame], labels: Sequence[Frame], seed: int) -> None:
        """The same steps with label maps (H,W) in place of a teacher's."""
        seen, classes = self._as_served(frames), len(self.words.names)
        learner = Learner(compute_for(self.settings), self.model, self.words, self.settings, seed)
        truth = {
            key(to_images([f])[0]): one_hot(t, classes) for f, t in zip(seen, labels, strict=True)
        }
        learner.strategy = Labelled(learner.setup, truth)
        valid = torch.ones(1, *seen[0].shape[:2], dtype=torch.bool)
        for _ in range(self.settings.steps):
            learner.step(draw_batch(seen, valid, self.settings, learner.generator))

    def _as_served(self, frames: Sequence[Frame]) -> list[Frame]:
        self.colour = towards_daylight(frames, self.base.daylight, self.settings.colour)
        return [recolour_frame(frame, self.colour) for frame in frames]

    @torch.no_grad()
    def bundle(self) -> Bundle:
        """What an engine takes that was built for as many blocks as the adapter has."""
        tensors = merged_projections(network_of(self.model), self.settings.blocks)
        inputs: Arrays = {name: value.numpy() for name, value in tensors.items()}
        inputs |= {"text": self.words.embed().numpy(), "string_to_class": self.words.owner.numpy()}
        inputs["colour"] = self.colour
        empty = np.empty(0, np.uint8)
        return Bundle("line", {"base_digest": self.base.digest}, inputs, empty, empty)


class Labelled(VocAlign):
    """VocAlign with the truth in the teacher's place: as far as labels of these frames go."""

    def __init__(self, setup: Setup, truth: Mapping[bytes, Tensor]) -> None:
        plain = replace(setup.settings, ignore_unsure=False, weighting="none")
        super().__init__(replace(setup, settings=plain))
        self.truth = truth

    def step(self, batch: Batch) -> Step:
        """One step on the labels of the batch's frames; what has none counts nowhere."""
        probability = torch.stack([self.truth[key(image)] for image in batch.images])
        known = batch.valid & (probability.sum(1) > 0)
        taught = teach(probability, known, self.setup.settings, self.setup.words.safety)
        return self._learn(batch, taught)


def key(image: Tensor) -> bytes:
    """An image by its pixels."""
    return image.numpy().tobytes()


def one_hot(labels: Frame, classes: int) -> Tensor:
    """Label map (H,W), `classes` and above unknown -> (T,H,W) float32."""
    return (torch.from_numpy(labels)[None] == torch.arange(classes)[:, None, None]).float()
