"""Champion against challengers: for the serving place compete what serves, the base, both in the
stream's colours, adapters made earlier, and what was learned just now.

All but the last cost nothing, so a new adapter has to beat the best of them; otherwise the best of
them serves, if it beats what does. Every comparison is a duel (see `acclimate.adapt.gate.duel`),
its bounds a paired bootstrap over the held-out frames.

How far to trust it, measured on three dev streams of the world with labels, twelve frames each:
between the base's own colours the duel named the better side in 40 of the 43 pairs that differ by
more than 0.5 points of mIoU; between an adapter and anything else in 33 of 46. The 13 are mostly
adapters that gained less than a point or lost up to two; where the opponent was the best that is
free, a lower bound of 1.5 points let none pass that lost anything. Hence `margin_learned`, for
every comparison in which something learned takes part, recoloured adapters too. What a duel cannot
see at all, a steady error, is left to the opponent's own views, to the bounds of
`acclimate.adapt.validate`, to memory and source scenes, to labels where there are some, and to
probation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from acclimate.adapt.gate.duel import Reference, duel, reference
from acclimate.adapt.gate.looks import Frame, Looks, look
from acclimate.adapt.signals.agreement import Mask, shares
from acclimate.adapt.signals.bootstrap import Gain
from acclimate.configs.schema import GateConfig
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.signals import jensen_shannon

SERVING, BASE = "serving", "base"
NOTHING = Gain(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Contender:
    """A bundle and what it says of the held-out frames."""

    bundle: Bundle
    looks: Looks


class Contest:
    """One set of held-out frames. Champions are asked once, candidates as they come."""

    def __init__(
        self, engine: Engine, frames: Sequence[Frame], valid: Mask, champions: Mapping[str, Bundle],
        settings: GateConfig,
    ) -> None:  # fmt: skip
        """`champions` by name, SERVING among them; `valid` (H,W) says which pixels count."""
        self.engine, self.frames, self.valid = engine, list(frames), valid
        self.settings, self.classes = settings, champions[SERVING].classes
        self.champions = {name: self.ask(bundle) for name, bundle in champions.items()}
        serving = self.champions[SERVING]
        self.gains = {SERVING: NOTHING} | {
            name: self.duel(other, serving, learned=_differ(other, serving))
            for name, other in self.champions.items() if name != SERVING
        }  # fmt: skip
        self.best = max(self.gains, key=lambda name: self.gains[name].mean)

    @property
    def base(self) -> Contender:
        """The base as it is, which may be what serves."""
        return self.champions.get(BASE, self.champions[SERVING])

    def ask(self, bundle: Bundle) -> Contender:
        """What a bundle says of the frames and of their changed views."""
        return Contender(bundle, look(self.engine, bundle, self.frames))

    def duel(self, challenger: Contender, holder: Contender, *, learned: bool) -> Gain:
        """What the challenger gains over the holder."""
        confidence = self.settings.confidence
        return duel(
            challenger.looks, holder.looks, self.classes, self.valid, confidence, learned
        )  # fmt: skip

    def against_best(self) -> Reference:
        """What the best champion's changed views say."""
        return reference([self.champions[self.best].looks], self.classes, self.valid)

    def jump(self, contender: Contender) -> float:
        """How far class shares move if it serves next, JS divergence in bits."""
        said = [
            shares(one.looks.plain[:, self.valid], self.classes)
            for one in (self.champions[SERVING], contender)
        ]
        return jensen_shannon(said[0], said[1])

    def free_winner(self) -> str | None:
        """The best champion if it is not what serves and beats it by the margin, with confidence,
        without a jump that probation would take for a fault."""
        gain, best = self.gains[self.best], self.champions[self.best]
        learned = any(_differ(one, self.base) for one in (best, self.champions[SERVING]))
        margin = self.settings.margin_learned if learned else self.settings.margin
        sound = gain.low >= margin and self.jump(best) <= self.settings.max_jump_js
        return self.best if self.best != SERVING and sound else None


def _differ(one: Contender, other: Contender) -> bool:
    """In more than colours?"""
    a, b = one.bundle.inputs, other.bundle.inputs
    return any(a[n] is not b[n] and not np.array_equal(a[n], b[n]) for n in a if n != "colour")
