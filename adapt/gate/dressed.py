"""Labelled scenes of the source in the look of the stream: the nearest thing to labels of the
stream itself.

What a duel cannot see, they do: a steady error, names that changed places, a class that is gone for
good, and also a gain in classes that are never steady. Each scene takes, channel by channel, the
histogram of one of the stream's frames. That is light, colour and contrast, not rain or snow, and
the scenes are the source's: they tell where a base comes from a world that we can draw, and nothing
at all elsewhere, where the duel decides alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acclimate.adapt.gate.looks import Frame
from acclimate.adapt.gate.memory import Lesson
from acclimate.configs.vocabulary import Vocabulary
from acclimate.world import Drive

SEEDS, AT = range(600, 624), 40  # the first are the source's own scenes too; in no other use


def dressed_lesson(
    words: Vocabulary, of_the_world: bool, frames: Sequence[Frame]
) -> Lesson | None:  # fmt: skip
    """Day scenes with labels, each in the look of one of `frames` (H,W,3), to be asked about in a
    bundle's own colours; None where the base is not of the world or no word is."""
    to_ours = words.from_source()
    if not of_the_world or (to_ours == 255).all():
        return None
    pairs = [Drive(seed, frames[0].shape[:2]).frame(AT) for seed in SEEDS]
    looks = [frames[i * len(frames) // len(pairs)] for i in range(len(pairs))]
    worn = [dressed(image, like) for (image, _), like in zip(pairs, looks, strict=True)]
    return Lesson(np.stack(worn), np.stack([to_ours[label] for _, label in pairs]), None)


def dressed(frame: Frame, like: Frame) -> Frame:
    """`frame` (H,W,3) with each channel's histogram that of `like` (H,W,3): the order of its pixels
    stays, the darkest takes the darkest value, and so on."""
    worn = np.empty_like(frame)
    for channel in range(frame.shape[2]):
        order = np.argsort(frame[..., channel], axis=None, kind="stable")
        worn[..., channel].flat[order] = np.sort(like[..., channel], axis=None)
    return worn
