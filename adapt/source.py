"""Labelled scenes of the source, what a base was trained on: drawn for the embedded bases, read for
others from a folder of yours. In the stream's light they are the nearest thing to labels of the
stream itself.

Some judge, others are learned from, and none does both. One curve a channel takes the levels of all
scenes to those of all the stream's frames: where the stream looks as the source does, scenes stay
as they are. (Were each scene given the histogram of one frame, it would be spoiled by what that
frame shows, and whoever undoes any histogram would seem to gain, by day too.) That is light, colour
and contrast, not rain or snow, and neither lamps nor noise.

A curve keeps the order of levels: the sky would stay the brightest by night too, and fog as thick
before the bonnet as above the roofs. What is learned from therefore has curves for each BANDS-th of
the height: what a camera sees above differs from what it sees below wherever it drives. With them
comes a little of what the stream happens to show there: a lesson bears that, and a judge it
misleads (in an evening of dev streams it named colours 5.7 points behind the best).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.schema import Config
from acclimate.configs.vocabulary import Vocabulary
from acclimate.errors import SourceError
from acclimate.model.load import EMBEDDED
from acclimate.runtime.datasets import SOURCE_PICTURES, Pair, find_own
from acclimate.runtime.evaluate import read_image
from acclimate.runtime.fit import How, cut, fit, nearest
from acclimate.runtime.truth import read_truth
from acclimate.world import IGNORE, Drive

Frame = NDArray[np.uint8]
Size = tuple[int, int]
JUDGED, LEARNED = range(600, 624), range(1_000_000, 1_000_024)  # drives; the latter made the bases
AT = 40  # the frame of each
BANDS = 8
JUDGED_SHARE = 1 / 3  # of a folder: its first part, so that neighbours in a film do not do both


@dataclass(frozen=True)
class Scenes:
    """`frames` (N,H,W,3) uint8 and what is to be said of them (N,H,W) uint8, 255 for nothing."""

    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def in_light_of(self, stream: Sequence[Frame]) -> Scenes:
        """The same with the levels of `stream`, frames (H,W,3): to judge by."""
        return replace(self, frames=dressed(self.frames, np.stack(stream)))

    def in_light_by_height_of(self, stream: Sequence[Frame]) -> Scenes:
        """The same with the levels that `stream` has at each height: to learn from."""
        return replace(self, frames=dressed_by_height(self.frames, np.stack(stream)))


def scenes_to_judge_by(config: Config, words: Vocabulary, size: Size) -> Scenes | None:
    """Scenes of `size` (H,W) to judge by; None where nobody has any for these words.

    Raises SourceError for a folder that cannot be read.
    """
    return _scenes(config, words, size, JUDGED)


def scenes_to_learn_from(config: Config, words: Vocabulary, size: Size) -> Scenes | None:
    """Others, to learn from; None where nothing is replayed."""
    return _scenes(config, words, size, LEARNED) if config.adapt.replay else None


def _scenes(config: Config, words: Vocabulary, size: Size, seeds: range) -> Scenes | None:
    to_ours = words.from_source()
    if config.model.source_dir is not None:
        pairs = _part(Path(config.model.source_dir), seeds == JUDGED)
        evenly = np.linspace(0, len(pairs) - 1, min(len(seeds), len(pairs))).round().astype(int)
        found = [_read(pairs[i], words, size, config.serving.fit) for i in evenly]
    elif config.model.weights in (None, *EMBEDDED) and (to_ours != IGNORE).any():
        found = [(frame, to_ours[labels]) for frame, labels in (_drawn(s, size) for s in seeds)]
    else:
        return None
    frames, labels = (np.stack(one) for one in zip(*found, strict=True))
    if (labels == IGNORE).all():
        raise SourceError(f"{config.model.source_dir}: no pixel of its labels/ is of a class")
    return Scenes(frames, labels)


@lru_cache(len(JUDGED) + len(LEARNED))
def _drawn(seed: int, size: Size) -> tuple[Frame, Frame]:
    """A scene of the embedded bases' world, drawn once for all rounds of a process; don't write to
    it."""
    return Drive(seed, size).frame(AT)


def _part(folder: Path, judging: bool) -> Sequence[Pair]:
    """Of a folder of yours."""
    pairs = find_own(folder, SOURCE_PICTURES)
    first = round(JUDGED_SHARE * len(pairs))
    return pairs[:first] if judging else pairs[first:]


def _read(pair: Pair, words: Vocabulary, size: Size, how: How) -> tuple[Frame, Frame]:
    """A picture and its class indices, both at `size`."""
    image = read_image(pair.image)
    labels = np.full(size, IGNORE, np.uint8)
    shown = cut(labels, image.shape[:2], how)
    truth = np.minimum(read_truth(pair.label, "index", words), IGNORE).astype(np.uint8)
    shown[:] = nearest(truth, shown.shape)
    return fit(image, size, how), labels


def dressed(scenes: NDArray[np.uint8], like: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scenes (N,H,W,3) with each channel's levels moved, all by one curve, so that they are as
    frequent as those of `like` (M,H,W,3); their order stays."""
    curves = _curves(scenes, like).round().astype(np.uint8)
    return np.stack([curve[scenes[..., c]] for c, curve in enumerate(curves)], -1)


def dressed_by_height(scenes: NDArray[np.uint8], like: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same (H at least BANDS) by curves for BANDS + 1 heights, each made of the rows nearer
    than to the next but one; a row between two heights blends theirs."""
    height = scenes.shape[1]
    rows, curves = np.arange(height), np.zeros((height, 3, 256))
    for middle in np.linspace(0, height, BANDS + 1):
        near = 1 - np.abs(rows + 0.5 - middle) * BANDS / height
        inside = near > 0
        between = _curves(scenes[:, inside], like[:, inside])
        curves[inside] += near[inside, None, None] * between
    levels = curves.round().astype(np.uint8)
    return np.stack([levels[rows[:, None], c, scenes[..., c]] for c in range(3)], -1)


def _curves(scenes: NDArray[np.uint8], like: NDArray[np.uint8]) -> NDArray[np.float64]:
    """For each channel where its 256 levels go: (3,256), rising."""
    pairs = [[_ranks(frames[..., c]) for frames in (scenes, like)] for c in range(3)]
    return np.stack([np.interp(have, want, np.arange(256)) for have, want in pairs])


def _ranks(levels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The share of pixels that is darker than each of 256 levels, or half of those that equal it
    (mid-ranks): (256,), rising."""
    counts = np.bincount(levels.ravel(), minlength=256)
    return np.asarray((counts.cumsum() - counts / 2) / counts.sum())
