"""Two contenders on the same frames, without labels: who is nearer to what both, seen anew, say?

The reference of a duel is the vote of changed views (mirrored, darker, brighter, larger), weighted
by their probabilities; scored is what each says of the frames as they are, a view that has no
vote. A reference made of one side's views favours that side: a teacher that looked at raw frames
finds raw frames better seen, however dark they are. So where both sides have the same weights and
differ in colours alone, both vote alike. A third contender must not: whatever lies between two
others agrees with both (of raw, half and wholly moved colours, half always "won").

What was learned in this very round has other weights, and training makes a network sure whether it
is right or not: then each view's vote counts the same, sure or not. Even so its vote shows only
what is steady, and nothing is steadier than one class everywhere, which can win a duel: the
opponent's views alone are asked as well (see `acclimate.adapt.gate.trial`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acclimate.adapt.gate.looks import NOWHERE, Looks
from acclimate.adapt.signals.agreement import Labels, Mask, tables
from acclimate.adapt.signals.bootstrap import Gain, paired_gain

CONFIDENT = 0.8


@dataclass(frozen=True)
class Reference:
    """What jurors say: labels (N,H,W), NOWHERE where nothing counts; confident (N,H,W) where at
    least CONFIDENT of all the votes there could be are for that label."""

    labels: Labels
    confident: Mask

    def at(self, valid: Mask) -> Reference:
        """Only the pixels `valid` (H,W): labels and confident (N,P)."""
        return Reference(self.labels[:, valid], self.confident[:, valid])


def reference(jurors: Sequence[Looks], classes: int, valid: Mask, weigh: bool = True) -> Reference:
    """All jurors' changed views of each frame, with equal voices, at the pixels `valid` (H,W);
    where they are divided equally nothing counts."""
    labels, confident = [], []
    for number in range(jurors[0].labels.shape[1]):
        votes = np.sum([juror.votes(number, classes, weigh) for juror in jurors], 0)
        seen = np.sum([(juror.labels[1:, number] != NOWHERE).sum(0) for juror in jurors], 0)
        winner = votes.argmax(0).astype(np.uint8)
        tied = (votes == votes.max(0)).sum(0) > 1
        told = valid & ~tied.reshape(valid.shape)
        labels.append(np.where(told, winner.reshape(valid.shape), np.uint8(NOWHERE)))
        confident.append(told & (votes.max(0).reshape(valid.shape) >= CONFIDENT * seen))
    return Reference(np.stack(labels), np.stack(confident))


def duel(
    challenger: Looks, holder: Looks, classes: int, valid: Mask, confidence: float, learned: bool
) -> Gain:
    """What the challenger's plain labels gain over the holder's, at the pixels `valid` (H,W)."""
    against = reference([challenger, holder], classes, valid, weigh=not learned)
    after, before = (
        tables(against.labels, one.plain, classes) for one in (challenger, holder)
    )  # fmt: skip
    return paired_gain(after, before, confidence)
