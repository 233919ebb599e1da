"""What must not be forgotten: frames of earlier accepted conditions, and scenes of the source.

Each accepted bundle keeps some of the frames it was judged on, with what the gate's jurors said of
them then. A later candidate is asked about them under that bundle's own colours, because it would
never serve there: only what it learned can have been lost. The source is what the base was trained
on, with labels where there are some (`acclimate.adapt.source`); else it is the base's own probe
frames, with what the base itself says of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acclimate.adapt.gate.looks import look
from acclimate.adapt.signals.agreement import Labels, Tables, tables
from acclimate.adapt.source import Scenes
from acclimate.configs.gate import GateConfig
from acclimate.errors import CorruptBundle
from acclimate.model.colour import UNCHANGED
from acclimate.runtime.bundle import MEMORY, Arrays, Bundle, read_arrays
from acclimate.runtime.engine import Engine

SCENES = 8  # of the source
BUNDLES = 16  # good ones that the daemon keeps
Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Lesson:
    """Frames (N,H,W,3) with what is to be said of them (N,H,W), under `colour` (7,3), or under a
    bundle's own where that is None."""

    frames: NDArray[np.uint8]
    labels: Labels
    colour: NDArray[np.float32] | None

    def tables(self, engine: Engine, bundle: Bundle) -> Tables:
        """What `bundle` says of them in their colours, against what is to be said (N,T,T)."""
        colour = bundle.inputs["colour"] if self.colour is None else self.colour
        here = bundle.in_colours(colour)
        said = look(engine, here, list(self.frames), 1).plain
        return tables(self.labels, said, bundle.classes)


def source_lesson(base: Bundle, source: Scenes | None) -> Lesson:
    """A few of the source's scenes as they are; without any the base's own probe frames."""
    if source is None:
        return Lesson(base.probe_frames, base.probe_labels, UNCHANGED)
    return Lesson(source.frames[:SCENES], source.labels[:SCENES], UNCHANGED)


def kept(frames: Sequence[Frame], labels: Labels, gate: GateConfig) -> Arrays:
    """Some of the frames that were judged, evenly spread: a bundle's part of `gate.memory_mb`."""
    each = frames[0].nbytes + labels[0].nbytes
    count = min(len(frames), gate.memory_frames, int(gate.memory_mb * 2**20 / BUNDLES / each))
    chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
    return {"frames": np.stack(frames)[chosen], "labels": labels[chosen]} if count else {}


def remembered(bundles: Sequence[Bundle], folders: Sequence[Path], most: int) -> list[Lesson]:
    """The newest memories of `bundles` in their `folders`, `most` frames in all; one that cannot be
    read, or that is of other words or another size, is left out."""
    found: list[Lesson] = []
    for bundle, folder in reversed(list(zip(bundles, folders, strict=True))):
        room = most - sum(len(lesson.frames) for lesson in found)
        with suppress(CorruptBundle):
            stored = read_arrays(folder / MEMORY) if (folder / MEMORY).is_file() else {}
            if room > 0 and _fits(stored, bundle):
                frames, labels = (stored[name][:room] for name in ("frames", "labels"))
                found.append(Lesson(frames, labels, bundle.inputs["colour"]))
    return found


def _fits(stored: Arrays, bundle: Bundle) -> bool:
    """Is it whole, and of the size and words that the bundle serves?"""
    if not {"frames", "labels"} <= stored.keys() or not len(stored["frames"]):
        return False
    frames, labels = stored["frames"], stored["labels"]
    sized = frames.shape[1:] == bundle.probe_frames.shape[1:] and frames.dtype == np.uint8
    return sized and labels.shape == frames.shape[:3] and labels.dtype == np.uint8
