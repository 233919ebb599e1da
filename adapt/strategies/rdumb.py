"""RDumb: another strategy that goes back to the base every so many steps of an adapter's life.

Source: "RDumb: a simple approach that questions our progress in continual test-time adaptation"
(arXiv 2306.05401): entropy minimisation, reset every 1000 steps.
"""

from __future__ import annotations

from collections.abc import Callable

from acclimate.adapt.anchor import shrink
from acclimate.adapt.batch import Batch
from acclimate.adapt.strategy import Setup, Step, Strategy


class RDumb:
    """`make` builds the strategy that is reset; steps of earlier rounds count, see Setup.age."""

    def __init__(self, setup: Setup, make: Callable[[Setup], Strategy]) -> None:
        self._setup, self._make = setup, make
        self._age, self._inner = setup.age, make(setup)

    def step(self, batch: Batch) -> Step:
        """A step of the other strategy, from the base where one is due."""
        if self._age and self._age % self._setup.settings.rdumb_steps == 0:
            self._reset()
        self._age += 1
        return self._inner.step(batch)

    def _reset(self) -> None:
        """B to zero, a fresh optimiser and a fresh strategy with its teacher."""
        shrink(self._setup.model, 1.0)
        self._setup.optimiser.state.clear()
        self._inner = self._make(self._setup)
