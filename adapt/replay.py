"""Source replay: labelled scenes of the source, learned from beside frames that have no labels.

Doebler et al., Robust Mean Teacher (CVPR 2023, arXiv 2211.13081), replay the source as it is,
against forgetting. Here it is in the stream's light besides (`acclimate.adapt.source`): what dusk
and fog do to colours is then learned from true labels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acclimate.adapt.batch import Batch, Frames, cropped, to_images
from acclimate.adapt.source import Scenes
from acclimate.adapt.strategies.vocalign import Taught, learn
from acclimate.adapt.strategy import Setup, Step
from acclimate.adapt.vocalign import IGNORE, class_balance
from acclimate.model.colour import both_looks


class Replay:
    """Adds the gradients of `count` scenes a step to those of the strategy."""

    def __init__(self, setup: Setup, scenes: Scenes, count: int) -> None:
        self.setup, self.scenes, self.count = setup, scenes, count

    def step(self, batch: Batch) -> Step:
        """One pass a scene, drawn with replacement; of `batch` only its device is asked. Raises
        Diverged."""
        device, chance = batch.images.device, self.setup.generator
        drawn = torch.randint(len(self.scenes.frames), (self.count,), generator=chance).tolist()
        images = to_images([self.scenes.frames[i] for i in drawn])
        labels = torch.from_numpy(self.scenes.labels[drawn]).long()
        images, labels = cropped(images, labels, self.setup.settings, chance)
        images, labels = images.to(device), labels.to(device)
        return learn(self.setup, Batch(images, labels != IGNORE), self.taught(labels))

    def taught(self, labels: Tensor) -> Taught:
        """Labels (B,H,W), IGNORE for none, as a teacher would tell them: of all classes. A scene
        weighs as much as a frame of the stream."""
        settings = self.setup.settings
        weights = class_balance(labels, settings.balance) * (self.count / settings.batch)
        every = torch.arange(len(self.setup.words.names), device=labels.device)
        return Taught(labels, weights, every.expand(len(labels), -1))


def looks(
    frames: Frames, scenes: Scenes | None, colour: NDArray[np.float32] | None
) -> tuple[Frames, Scenes | None]:
    """What a round learns from: the stream's frames and, in their light, the source's scenes; by
    turns in `colour` where something is to serve in it."""
    worn = None if scenes is None else scenes.in_light_by_height_of(frames)
    if colour is None:
        return frames, worn
    if worn is not None:
        worn = replace(worn, frames=np.stack(both_looks(list(worn.frames), colour)))
    return both_looks(frames, colour), worn
