"""Labels made in ways that only a drive allows, and what they are worth against the truth.

Along optical flow a pixel's label is voted on by those of the frames before; normalised by the
statistics of its whole drive a frame keeps what sets it apart from its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acclimate.adapt.signals.flow import carried, track
from acclimate.model.colour import MOST_FACTOR, MOST_MOVED, SHARES, Daylight, daylight_of
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.evaluate import confusion, mean_iou
from benchmarks.scenes import Frame

Say = Callable[[Frame], tuple[Frame, NDArray[np.float32]]]


@dataclass(frozen=True)
class Seen:
    """A frame (H,W,3) with its truth (H,W) and the frames just before it, newest first."""

    frame: Frame
    truth: Frame
    before: tuple[Frame, ...]


def along_flow(seen: Seen, say: Say, classes: int) -> tuple[Frame, float]:
    """Labels (H,W) by a vote, each weighed by its probability, of the frame and of those before
    where flow finds a pixel again -> and the share of pixels found."""
    votes, found = _votes(*say(seen.frame), classes), []
    for frame in seen.before:
        back, again = track(frame, seen.frame)
        labels, sure = (carried(map_, back) for map_ in say(frame))
        votes += _votes(labels, sure * again, classes)
        found.append(again.mean())
    return votes.argmax(0).astype(np.uint8), float(np.mean(found))


def in_drive_colours(frames: Sequence[Frame], known: Daylight, share: float) -> list[Frame]:
    """Frames (H,W,3) moved by `share` of the way to a base's colours, all of them alike: by one
    factor and offset from the statistics of the drive, no frame's own."""
    drive = daylight_of([frames])
    mean, spread = drive.mean[0], drive.spread[0]
    factor = np.clip(spread, *known.spread) / np.maximum(spread, 1)
    factor = 1 + share * (factor.clip(1 / MOST_FACTOR, MOST_FACTOR) - 1)
    offset = share * (np.clip(mean, *known.mean) - mean).clip(-MOST_MOVED, MOST_MOVED)
    return [
        (mean + factor * (frame - mean) + offset).clip(0, 255).round().astype(np.uint8)
        for frame in frames
    ]


def worth(
    engine: Engine, base: Bundle, known: Daylight, coloured: dict[str, Bundle], seen: Sequence[Seen]
) -> dict[str, float]:
    """mIoU of a frozen teacher's labels by how they are made: of frames as they look, in the
    colours of `coloured`, which measure each frame, in colours that measure the drive, along flow;
    `found_again`: the share of pixels that flow brings to a vote, in percent."""
    frames = [one.frame for one in seen]
    by_flow = [along_flow(one, saying(engine, base), base.classes) for one in seen]
    labels = {"as_it_looks": [engine.infer(f, base).labels for f in frames]}
    for name, bundle in coloured.items():
        labels[name] = [engine.infer(f, bundle).labels for f in frames]
    for name in ("half", "whole"):
        share = SHARES[name][0]  # type: ignore[index]
        moved = in_drive_colours(frames, known, share)
        labels[f"drive_{name}"] = [engine.infer(f, base).labels for f in moved]
    labels["along_flow"] = [one for one, _ in by_flow]
    true = np.stack([one.truth for one in seen])
    scores = {
        name: mean_iou(confusion(true, np.stack(said), base.classes))
        for name, said in labels.items()
    }
    scores["found_again"] = 100 * float(np.mean([share for _, share in by_flow]))
    return {name: round(value, 2) for name, value in scores.items()}


def saying(engine: Engine, bundle: Bundle) -> Say:
    """What an engine says of a frame: labels (H,W) and their probability (H,W)."""
    return lambda frame: engine.infer_map(frame, bundle)


def _votes(labels: Frame, weights: NDArray[np.float32], classes: int) -> NDArray[np.float32]:
    """(T,H,W): each pixel's weight for its label."""
    return np.where(np.arange(classes)[:, None, None] == labels, weights, 0).astype(np.float32)
