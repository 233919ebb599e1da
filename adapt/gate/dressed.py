"""Labelled scenes of the source in the look of the stream: the nearest thing to labels of the
stream itself.

What a duel cannot see, they do: a steady error, names that changed places, a class that is gone for
good, and also a gain in classes that are never steady. One curve a channel takes the levels of all
scenes to those of all the stream's frames: where the stream looks as the source does, scenes stay
as they are. (Were each scene given the histogram of one frame, it would be spoiled by what that
frame shows, and whoever undoes any histogram would seem to gain, by day too.) That is light, colour
and contrast, not rain or snow, and the scenes are the source's: they tell where a base comes from a
world that we can draw, and nothing at all elsewhere, where the duel decides alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from acclimate.adapt.gate.looks import Frame
from acclimate.adapt.gate.memory import Lesson
from acclimate.configs.vocabulary import Vocabulary
from acclimate.world import Drive

Frames = NDArray[np.uint8]
SEEDS, AT = range(600, 624), 40  # the first are the source's own scenes too; in no other use


def dressed_lesson(
    words: Vocabulary, of_the_world: bool, frames: Sequence[Frame]
) -> Lesson | None:  # fmt: skip
    """Day scenes with labels in the look of `frames` (H,W,3), to be asked about in a bundle's own
    colours; None where the base is not of the world or no word is."""
    to_ours = words.from_source()
    if not of_the_world or (to_ours == 255).all():
        return None
    scenes, labels = zip(*(Drive(s, frames[0].shape[:2]).frame(AT) for s in SEEDS), strict=True)
    worn = dressed(np.stack(scenes), np.stack(frames))
    return Lesson(worn, np.stack([to_ours[label] for label in labels]), None)


def dressed(scenes: Frames, like: Frames) -> Frames:
    """Scenes (N,H,W,3) with each channel's levels moved, all by one curve, so that they are as
    frequent as those of `like` (M,H,W,3); their order stays."""
    worn = np.empty_like(scenes)
    for channel in range(3):
        have, want = (_ranks(frames[..., channel]) for frames in (scenes, like))
        curve = np.interp(have, want, np.arange(256)).round().astype(np.uint8)
        worn[..., channel] = curve[scenes[..., channel]]
    return worn


def _ranks(levels: Frames) -> NDArray[np.float64]:
    """The share of pixels that is darker than each of 256 levels, or half of those that equal it
    (mid-ranks): (256,), rising."""
    counts = np.bincount(levels.ravel(), minlength=256)
    return np.asarray((counts.cumsum() - counts / 2) / counts.sum())
