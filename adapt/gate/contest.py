"""Champion against challengers: for the serving place compete what serves, the base, both in other
colours, adapters made earlier, and what was learned just now.

All but the last cost nothing, so a new adapter has to beat the best of them; otherwise the best of
them serves, if it beats what does. Bounds are of a paired bootstrap over the held-out frames.

Champions are compared by the stream's own frames (`acclimate.adapt.gate.duel`) and, where there
are labelled scenes in the stream's look (`acclimate.adapt.source`), by the mean of both:
neither errs where the other does. Of 205 pairs of the base in five colours (two dev streams, up to
thirteen looks; half a point apart or more) the mean named the better side in 185 and its favourite
was at most 2.3 points behind the best; labels alone 184 and 2.3, steadiness alone 174 and, under a
colour cast, 17.6.

How far to trust a duel alone, measured on three dev streams of the world with labels, twelve frames
each: between an adapter and anything else it named the better side in 33 of 46 pairs. The 13 are
mostly adapters that gained less than a point or lost up to two; where the opponent was the best
that is free, a lower bound of 1.5 points let none pass that lost anything. Hence `margin_learned`,
for every comparison in which something learned takes part. What a duel cannot see at all, a steady
error, is left to the opponent's own views, to the bounds of `acclimate.adapt.validate`, to memory
and source scenes, to labels where there are some, and to probation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from acclimate.adapt.gate.duel import Reference, duel, reference, steadier
from acclimate.adapt.gate.judges import weigh
from acclimate.adapt.gate.looks import Frame, Looks, look
from acclimate.adapt.gate.memory import Lesson
from acclimate.adapt.signals.agreement import RARE, Mask, Tables, present, shares
from acclimate.adapt.signals.bootstrap import Gain, mean_gain, paired_gain
from acclimate.configs.gate import GateConfig
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.signals import jensen_shannon

SERVING, BASE = "serving", "base"
Compare = Callable[[Looks, Looks, int, Mask, float], Gain]


@dataclass(frozen=True)
class Contender:
    """A bundle, what it says of the held-out frames, and how to ask it about dressed scenes."""

    bundle: Bundle
    looks: Looks
    ask_dressed: Callable[[Bundle], Tables] | None = None

    @cached_property
    def dressed(self) -> Tables | None:
        """Counts (N,T,T) on the dressed scenes, if there are any."""
        return self.ask_dressed(self.bundle) if self.ask_dressed else None


class Contest:
    """One set of held-out frames. Champions are asked once, candidates as they come."""

    def __init__(
        self, engine: Engine, frames: Sequence[Frame], valid: Mask, champions: Mapping[str, Bundle],
        settings: GateConfig, dressed: Lesson | None = None,
    ) -> None:  # fmt: skip
        """`champions` by name, SERVING among them; `valid` (N,H,W), or (H,W) for all, says which
        pixels of the frames count; `dressed` are scenes of the source in the stream's look."""
        self.engine, self.frames = engine, list(frames)
        self.valid = np.broadcast_to(valid, (len(self.frames), *valid.shape[-2:]))
        self._dressed = None if dressed is None else partial(dressed.tables, engine)
        self.settings, self.classes = settings, champions[SERVING].classes
        self.champions = {name: self.ask(bundle) for name, bundle in champions.items()}
        self.best = self._best()
        self.over_serving = self.gain(self.champions[self.best], self.champions[SERVING])

    @property
    def base(self) -> Contender:
        """The base as it is, which may be what serves."""
        return self.champions.get(BASE, self.champions[SERVING])

    def ask(self, bundle: Bundle) -> Contender:
        """What a bundle says of the frames and of their changed views."""
        return Contender(bundle, look(self.engine, bundle, self.frames), self._dressed)

    def gain(self, challenger: Contender, holder: Contender) -> Gain:
        """What the challenger gains over the holder: by the stream's frames, and by labels."""
        by_stream = self.duel if _differ(challenger, holder) else self.steadier
        seen, told = by_stream(challenger, holder), self.told(challenger, holder)
        return seen if told is None else mean_gain(seen, told)

    def duel(self, challenger: Contender, holder: Contender) -> Gain:
        """The same by the stream's frames alone, where weights differ."""
        return self._compare(duel, challenger, holder)

    def steadier(self, challenger: Contender, holder: Contender) -> Gain:
        """The same by the stream's frames alone, where only colours differ."""
        return self._compare(steadier, challenger, holder)

    def told(self, challenger: Contender, holder: Contender) -> Gain | None:
        """By the labels of dressed scenes, if there are any."""
        after, before = challenger.dressed, holder.dressed
        if after is None or before is None:
            return None
        return paired_gain(after, before, self.settings.confidence)

    def _best(self) -> str:
        """The base in the colours that gain most; then whoever was learned and surely beats that,
        for it looks steadier than it is right."""
        field, home = self.champions, self.base
        learned = [name for name, one in field.items() if _differ(one, home)]
        free = [name for name in field if name not in learned]
        best = max(free, key=lambda name: self.gain(field[name], home).mean)
        for name in learned:
            if self.gain(field[name], field[best]).low >= self.settings.margin_learned:
                best = name
        return best

    def _compare(self, how: Compare, challenger: Contender, holder: Contender) -> Gain:
        return how(
            challenger.looks, holder.looks, self.classes, self.valid, self.settings.confidence
        )  # fmt: skip

    @cached_property
    def against_best(self) -> Reference:
        """What the best champion's changed views say."""
        return reference([self.champions[self.best].looks], self.classes, self.valid)

    @cached_property
    def labels_cover(self) -> bool:
        """Have dressed scenes every class that the best champion sees? They cannot tell of another
        that it is lost."""
        best = self.champions[self.best]
        sees = shares(best.looks.plain[self.valid], self.classes) > RARE
        return best.dressed is not None and bool(present(best.dressed.sum(0))[sees].all())

    def jump(self, contender: Contender) -> float:
        """How far class shares move if it serves next, JS divergence in bits."""
        said = [
            shares(one.looks.plain[self.valid], self.classes)
            for one in (self.champions[SERVING], contender)
        ]
        return jensen_shannon(said[0], said[1])

    def free_winner(self) -> str | None:
        """The best champion if it is not what serves and surely beats it, and either labels say so
        too or what is seen does not jump. Weights that differ are weighed as a candidate's are: an
        adapter goes as it came."""
        if self.best == SERVING:
            return None
        best, serving, settings = self.champions[self.best], self.champions[SERVING], self.settings
        told = self.told(best, serving)
        if _differ(best, serving):
            better = not weigh(self.duel(best, serving), told, settings, SERVING)[0]
            least = settings.margin_dressed
        else:
            least = settings.margin_learned if _differ(best, self.base) else settings.margin
            better = self.over_serving.low >= least
        known = told is not None and told.low >= least
        sound = known or self.jump(best) <= settings.max_jump_js
        return self.best if better and sound else None


def _differ(one: Contender, other: Contender) -> bool:
    """In more than colours?"""
    a, b = one.bundle.inputs, other.bundle.inputs
    return any(a[n] is not b[n] and not np.array_equal(a[n], b[n]) for n in a if n != "colour")
