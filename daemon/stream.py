"""The stream as the serving process tells of it: its last report, its look, its drift."""

from __future__ import annotations

from typing import Any

import numpy as np

from acclimate.configs.schema import Config
from acclimate.daemon.drift import Collected, Condition, Drift, Level, Usual
from acclimate.daemon.probation import Signals, Window
from acclimate.daemon.registry import BASE, Registry
from acclimate.daemon.trigger import alarmed

Message = dict[str, Any]


class Stream:
    """`last` is the newest report ({} before the first), `window` the signals of the newest
    frames, `level` the drift from where the active adapter was made (None while unknown), `alarm`
    whether that is too far."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self.last: Message = {}
        self.level: Level | None = None
        self.alarm = False
        self.window = Window(config.probation.before_frames)
        self._config, self._registry = config.drift, registry
        self._drift = Drift(config.drift)
        self._first = Collected(config.drift.reference_frames)
        self._since_swap = Collected(config.drift.reference_frames)
        self._conditions: dict[str, Condition] = {}
        self._usual: dict[str, Usual] = {}

    def reconfigure(self, config: Config) -> None:
        """Go by other thresholds and lengths; what was seen is kept."""
        self._config = config.drift
        self._drift.reconfigure(config.drift)
        self.window.wanted = config.probation.before_frames
        self._first.wanted = self._since_swap.wanted = config.drift.reference_frames

    @property
    def ratio(self) -> float | None:
        """The drift's distance in embedding space alone."""
        return None if self.level is None else self.level.distance

    @property
    def blind(self) -> bool:
        """Does the camera see nothing?"""
        return bool(self.last.get("look", {}).get("blind"))

    @property
    def parked(self) -> bool:
        """Does the picture stay the same?"""
        return bool(self.last.get("look", {}).get("parked"))

    def add(self, report: Message) -> Signals:
        """The next interval's report; returns its label-free signals."""
        active, signs = self._registry.state.active, _signs(report)
        if sound := all(np.isfinite(sign).all() for sign in signs):  # an average forgets no NaN
            self._drift.add(*signs)
        fresh = sound and active not in self._usual and not self.parked
        if fresh and self._since_swap.add(*signs):
            self._usual[active] = Usual.around(self._since_swap.said)
        histogram = np.asarray(report["histogram"], float)
        return Signals(report["frames"], histogram, report["confidence"][0])

    def first_condition(self, report: Message) -> Condition | None:
        """The base's own condition, once enough was seen of it and while it is not yet known; one
        place, seen while parked, is none."""
        state = self._registry.state
        known, signs = self._registry.condition(BASE) is not None, _signs(report)
        if known or state.active != BASE or self.parked or not np.isfinite(signs[0]).all():
            return None
        enough = self._first.add(*signs)
        return Condition.around(self._first.embeddings) if enough else None

    def measure(self) -> Level | None:
        """The drift as of now."""
        active = self._registry.state.active
        self.level = self._drift.level(self._condition(active), self._usual.get(active))
        whole = None if self.level is None else self.level.whole
        self.alarm = alarmed(self.alarm, whole, self._config)
        return self.level

    def swapped(self) -> None:
        """Another adapter serves: what was seen says nothing of it."""
        self.level, self.alarm = None, False
        self.window.clear()
        self._drift.begin(self._usual.get(self._registry.state.active))
        self._since_swap = Collected(self._config.reference_frames)

    def reworded(self) -> None:
        """Other words serve: shares of other classes are not compared, and which adapters have
        these words is looked up again. Embeddings are of the picture alone."""
        self._conditions.clear()
        self._usual.clear()
        self.swapped()

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


def _signs(report: Message) -> tuple[Any, float, Any, int]:
    """Embedding (D,), entropy, class shares (T,) and how many frames they are the means of."""
    embedding, histogram = (np.asarray(report[name], float) for name in ("embedding", "histogram"))
    return embedding, float(report["confidence"][2]), histogram, int(report["frames"])
