"""The stream as the serving process tells of it: its last report, its look, its drift."""

from __future__ import annotations

from typing import Any

import numpy as np

from acclimate.configs.schema import Config
from acclimate.daemon.drift import Condition, Drift
from acclimate.daemon.probation import Signals, Window
from acclimate.daemon.registry import BASE, Registry

Message = dict[str, Any]


class Stream:
    """`last` is the newest report ({} before the first), `window` the signals of the newest
    frames, `ratio` the drift from where the active adapter was made (None while unknown)."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self.last: Message = {}
        self.ratio: float | None = None
        self.window = Window(config.probation.before_frames)
        self._drift, self._registry = Drift(config.drift), registry
        self._conditions: dict[str, Condition] = {}

    def add(self, report: Message) -> Signals:
        """The next interval's report; returns its label-free signals."""
        self._drift.add(report["embedding"], report["frames"])
        histogram = np.asarray(report["histogram"], float)
        return Signals(report["frames"], histogram, report["confidence"][0])

    def first_condition(self, report: Message) -> Condition | None:
        """The base's own condition, once enough was seen of it and while it is not yet known."""
        state = self._registry.state
        if state.reference is not None or state.active != BASE:
            return None
        return self._drift.first_condition(report["embedding"], report["frames"])

    def measure(self) -> float | None:
        """The drift as of now."""
        self.ratio = self._drift.ratio(self._condition(self._registry.state.active))
        return self.ratio

    def swapped(self) -> None:
        """Another adapter serves: what was seen says nothing of it."""
        self.ratio = None
        self.window.clear()

    def reworded(self) -> None:
        """Other words serve: shares of other classes are not compared, and which adapters have
        these words is looked up again. Embeddings are of the picture alone."""
        self.swapped()
        self._conditions.clear()

    def better(self) -> str | None:
        """A good adapter whose condition fits clearly better than the active one's."""
        state = self._registry.state
        if self.ratio is None:
            return None
        others = {name: self._condition(name) for name in state.good if name != state.active}
        return self._drift.nearer(self.ratio, others)

    def _condition(self, name: str) -> Condition | None:
        if name not in self._conditions:
            found = Condition.of(self._registry.condition(name))
            if found is None or not self._registry.may_serve(name):
                return None
            self._conditions[name] = found
        return self._conditions[name]
