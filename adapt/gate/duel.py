"""Two contenders on the same frames, without labels.

A changed view (mirrored, darker, brighter, larger) shows what a network is not sure to see again.
What that tells depends on where two contenders differ.

In colours alone: whoever is nearer to what its own changed views say sees better (`steadier`).
The same weights cannot have learned to be steady, so what is left is how well the frames suit them.
A vote of both sides' views missed evening and fog. How far steadiness goes by itself is told in
`acclimate.adapt.gate.contest`.

In weights: the reference is the vote of the changed views of both, a view as it is has no vote
(`duel`). A reference made of one side's views favours that side. Training makes a network sure
whether it is right or not, so each view's vote counts the same, sure or not. Even so it shows only
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


def reference(jurors: Sequence[Looks], classes: int, valid: Mask, weigh: bool = True) -> Reference:
    """All jurors' changed views of each frame, with equal voices, at the pixels `valid` (N,H,W)
    or (H,W); where they are divided equally nothing counts."""
    labels, confident = [], []
    where = np.broadcast_to(valid, jurors[0].plain.shape)
    for number in range(jurors[0].labels.shape[1]):
        votes = np.sum([juror.votes(number, classes, weigh) for juror in jurors], 0)
        seen = np.sum([(juror.labels[1:, number] != NOWHERE).sum(0) for juror in jurors], 0)
        winner = votes.argmax(0).astype(np.uint8)
        tied = (votes == votes.max(0)).sum(0) > 1
        told = where[number] & ~tied.reshape(seen.shape)
        labels.append(np.where(told, winner.reshape(seen.shape), np.uint8(NOWHERE)))
        confident.append(told & (votes.max(0).reshape(seen.shape) >= CONFIDENT * seen))
    return Reference(np.stack(labels), np.stack(confident))


def duel(challenger: Looks, holder: Looks, classes: int, valid: Mask, confidence: float) -> Gain:
    """What the challenger's plain labels gain over the holder's at the pixels `valid`, by the
    votes of both."""
    against = reference([challenger, holder], classes, valid, weigh=False)
    return _gain(challenger, against, holder, against, classes, confidence)


def steadier(
    challenger: Looks, holder: Looks, classes: int, valid: Mask, confidence: float
) -> Gain:
    """The same, each by the votes of its own: for the same weights in other colours."""
    theirs = [reference([one], classes, valid) for one in (challenger, holder)]
    return _gain(challenger, theirs[0], holder, theirs[1], classes, confidence)


def _gain(
    challenger: Looks, of_it: Reference, holder: Looks, of_holder: Reference, classes: int,
    confidence: float,
) -> Gain:  # fmt: skip
    after = tables(of_it.labels, challenger.plain, classes)
    before = tables(of_holder.labels, holder.plain, classes)
    return paired_gain(after, before, confidence)
