"""Learns nothing: the candidate is its parent, so the whole path can be measured without gain.

The base is served with concepts; frozen without concepts is this with a vocabulary that has none
(`configs.vocabulary.without_concepts`, `acclimate evaluate --concepts without`).
"""

from __future__ import annotations

import torch

from acclimate.adapt.batch import Batch
from acclimate.adapt.strategy import Setup, Step


class Frozen:
    """No gradient, so that the optimiser leaves every tensor alone."""

    def __init__(self, setup: Setup) -> None:
        self._nothing = Step(0.0, torch.zeros(len(setup.words.names), dtype=torch.long))

    def step(self, batch: Batch) -> Step:
        """Nothing."""
        return self._nothing
