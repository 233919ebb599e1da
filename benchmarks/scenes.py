"""Labelled scenes of the driving world, and honest numbers on them.

Seeds: 1,000,000 and above made the default; 500..511 were watched while it trained; DEV scenes and
streams were used to choose settings; TEST scenes and STREAMS were used for nothing but reporting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.configs.vocabulary import Vocabulary
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.evaluate import confusion, mean_iou
from acclimate.world import Drive, Shift

DEV = range(700, 712)
STREAMS, DEV_STREAMS = (11, 12, 13), (3, 4)
TIMES = (20, 150)
DAYLIGHT = 105.0

Frame = NDArray[np.uint8]
Tables = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """Frames (H,W,3) of one drive with their label maps (H,W) in class indices."""

    frames: tuple[Frame, ...]
    labels: tuple[Frame, ...]


def fresh_seeds(number: int) -> range:
    """The 40 scenes of test set `number`."""
    return range(9000 + 100 * number, 9040 + 100 * number)


def scenes(seeds: Iterable[int], shift: Shift, words: Vocabulary) -> list[Scene]:
    """One Scene a seed, at TIMES."""
    table, found = words.from_source(), []
    for seed in seeds:
        drive = Drive(seed)
        pairs = [drive.frame(index, shift) for index in TIMES]
        frames = tuple(np.ascontiguousarray(image) for image, _ in pairs)
        found.append(Scene(frames, tuple(table[labels] for _, labels in pairs)))
    return found


def tables(
    engine: Engine, bundle: Bundle, where: list[Scene],
    prepare: Callable[[Frame], Frame] = lambda frame: frame,
) -> Tables:  # fmt: skip
    """A confusion table (N,T,T) for each scene."""
    rows = []
    for scene in where:
        guesses = [engine.infer(prepare(frame), bundle).labels for frame in scene.frames]
        pairs = zip(scene.labels, guesses, strict=True)
        rows.append(sum(confusion(t, g, bundle.classes) for t, g in pairs))
    return np.stack(rows)


def miou(rows: Tables) -> float:
    """mIoU in percent over all scenes."""
    return mean_iou(rows.sum(0))


def interval(after: Tables, before: Tables, draws: int = 1000) -> tuple[float, float]:
    """95 % interval of the paired gain in mIoU, scenes resampled."""
    rng = np.random.default_rng(0)
    picks = rng.integers(len(after), size=(draws, len(after)))
    gains = [mean_iou(after[p].sum(0)) - mean_iou(before[p].sum(0)) for p in picks]
    low, high = np.percentile(gains, [2.5, 97.5])
    return round(float(low), 2), round(float(high), 2)


def daylight(frame: Frame) -> Frame:
    """The control: gamma towards daylight luminance where it is darker, then a bilateral filter."""
    grey = float(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).mean())
    if grey > 0.85 * DAYLIGHT:
        return frame
    gamma = np.log(DAYLIGHT / 255) / np.log(max(grey, 2.0) / 255)
    lifted = (255 * (frame / 255.0) ** gamma).astype(np.uint8)
    return np.asarray(cv2.bilateralFilter(lifted, 5, 30, 5), np.uint8)
