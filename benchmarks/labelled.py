"""As far as any teacher could bring it: the same LoRA and steps, taught the truth of the frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from acclimate.adapt.batch import Batch, draw_batch, to_images
from acclimate.adapt.compute import compute_for
from acclimate.adapt.learner import Learner
from acclimate.adapt.strategies.vocalign import VocAlign, teach
from acclimate.adapt.strategy import Setup, Step
from acclimate.model.colour import colour_of, recolour_frame
from benchmarks.scenes import Frame
from benchmarks.ungated import Learned


class Labelled(VocAlign):
    """VocAlign with the truth in the teacher's place; `truth` (T,H,W) by the pixels of a frame."""

    def __init__(self, setup: Setup, truth: Mapping[bytes, Tensor]) -> None:
        plain = replace(setup.settings, ignore_unsure=False, weighting="none")
        super().__init__(replace(setup, settings=plain))
        self.truth = truth

    def step(self, batch: Batch) -> Step:
        """One step on the labels of the batch's frames; pixels that have none count nowhere."""
        probability = torch.stack([self.truth[pixels(image)] for image in batch.images])
        known = batch.valid & (probability.sum(1) > 0)
        return self._learn(
            batch, teach(probability, known, self.setup.settings, self.setup.words.safety)
        )


def learn_truth(way: Learned, frames: Sequence[Frame], labels: Sequence[Frame], seed: int) -> None:
    """A round of `way` on frames (H,W,3) and their label maps (H,W)."""
    settings, classes = way.settings, len(way.words.names)
    way.colour = colour_of(way.base.daylight, settings.colour)
    seen = [recolour_frame(frame, way.colour) for frame in frames]
    maps = [one_hot(truth, classes) for truth in labels]
    truth = {pixels(to_images([f])[0]): m for f, m in zip(seen, maps, strict=True)}
    learner = Learner(compute_for(settings), way.model, way.words, settings, seed)
    learner.strategy = Labelled(learner.setup, truth)
    everywhere = torch.ones(1, *seen[0].shape[:2], dtype=torch.bool)
    for _ in range(settings.steps):
        learner.step(draw_batch(seen, everywhere, settings, learner.generator))


def pixels(image: Tensor) -> bytes:
    """What tells one image from another."""
    return image.numpy().tobytes()


def one_hot(labels: Frame, classes: int) -> Tensor:
    """Label map (H,W), `classes` and above unknown -> (T,H,W) float32."""
    return (torch.from_numpy(labels)[None] == torch.arange(classes)[:, None, None]).float()
