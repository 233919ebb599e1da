"""Labels where somebody has some: by class, and floors for those that safety hangs on."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from acclimate.adapt.signals.agreement import Tables
from acclimate.runtime.evaluate import class_iou


def class_losses(before: Tables, after: Tables) -> dict[int, float]:
    """Counts (T,T) on the same labels -> points of IoU that each labelled class loses."""
    lost = class_iou(before) - class_iou(after)
    return {int(i): float(lost[i]) for i in np.flatnonzero(~np.isnan(lost))}


def most_lost(before: Sequence[Tables], after: Tables) -> dict[int, float]:
    """The same against whichever of several had most of a class."""
    each = [class_losses(one, after) for one in before]
    return {i: max(losses[i] for losses in each if i in losses) for i in sorted(set().union(*each))}


def below_floor(
    losses: dict[int, float], safety: Collection[int], names: Sequence[str], most: float
) -> list[str]:
    """A sentence for each safety class that loses more than `most` points."""
    return [
        f"{names[i]} loses {lost:.1f} points of IoU, {most:g} are allowed for a safety class"
        for i, lost in losses.items()
        if i in safety and not lost <= most
    ]
