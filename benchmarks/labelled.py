"""The same LoRA and steps, taught labels made beforehand: the truth, which is as far as any teacher
could bring it, or a teacher's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from peft import PeftModel

from acclimate.adapt.batch import Batch
from acclimate.adapt.compute import compute_for
from acclimate.adapt.learner import Learner
from acclimate.adapt.replay import Replay
from acclimate.adapt.source import Scenes
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig
from acclimate.model.colour import colour_of, recolour_frame
from benchmarks.scenes import Frame
from benchmarks.ungated import Learned

NOTHING = Batch(torch.empty(0, 3, 1, 1), torch.empty(0, 1, 1, dtype=torch.bool))


def learn_labels(
    model: PeftModel, words: Words, settings: AdaptConfig, scenes: Scenes, seed: int
) -> None:
    """A round on labelled scenes and nothing else."""
    learner = Learner(compute_for(settings), model, words, settings, seed)
    learner.strategy = Replay(learner.setup, scenes, settings.batch)
    for _ in range(settings.steps):
        learner.step(NOTHING)


def learn_pairs(way: Learned, frames: Sequence[Frame], labels: Sequence[Frame], seed: int) -> None:
    """A round of `way` on frames (H,W,3) and their label maps (H,W)."""
    way.colour = colour_of(way.base.daylight, way.settings.colour)
    seen = np.stack([recolour_frame(frame, way.colour) for frame in frames])
    learn_labels(way.model, way.words, way.settings, Scenes(seen, np.stack(labels)), seed)
