"""Ends a round that collapses: one class everywhere, or a loss that is no number."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from acclimate.adapt.strategy import Step
from acclimate.configs.adapt import AdaptConfig
from acclimate.errors import Diverged

WINDOW = 8
_REMEDY = "lower adapt.lr, raise adapt.adapter_decay or start from the base"


class Monitor:
    """Watches what the student says over the last WINDOW steps; each call is one step."""

    def __init__(self, settings: AdaptConfig, names: Sequence[str]) -> None:
        self.settings, self.names = settings, names
        self._last: deque[Tensor] = deque(maxlen=WINDOW)
        self._first: float | None = None

    def __call__(self, number: int, step: Step) -> None:
        """Raises Diverged with the number that went too far."""
        if not math.isfinite(step.loss):
            raise Diverged(f"the loss is {step.loss} at step {number}; {_REMEDY}")
        if not int(step.said.sum()):
            return
        self._last.append(step.said)
        if len(self._last) == WINDOW:
            self._look(number, torch.stack(tuple(self._last)).sum(0))

    def state(self) -> dict[str, Any]:
        """What it remembers, for `restore`."""
        return {"last": list(self._last), "first": self._first}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember what another one did."""
        self._last = deque(state["last"], maxlen=WINDOW)
        self._first = state["first"]

    def _look(self, number: int, said: Tensor) -> None:
        shares, bounds = said.double() / said.sum(), self.settings
        largest, bits = float(shares.max()), entropy(shares)
        if largest > bounds.max_class_share:
            raise Diverged(
                f"collapsed at step {number}: {largest:.1%} of the pixels are "
                f"{self.names[int(shares.argmax())]!r}, adapt.max_class_share is "
                f"{bounds.max_class_share:g}; {_REMEDY}"
            )
        self._first = bits if self._first is None else self._first
        if bits < bounds.min_entropy * self._first:
            raise Diverged(
                f"collapsed at step {number}: the labels' entropy fell from {self._first:.2f} to "
                f"{bits:.2f} bits, adapt.min_entropy is {bounds.min_entropy:g} of it; {_REMEDY}"
            )


def entropy(shares: Tensor) -> float:
    """Shares (T,) that sum to 1 -> their entropy in bits."""
    return float(-torch.special.xlogy(shares, shares).sum() / math.log(2))
