"""Drives whose looks change, suddenly and gradually, and scenes to report on, rendered once.

The "new domain" is another camera: its white balance is off by the same hue all along the drive,
and the scenes of that segment are seen through that very camera.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.vocabulary import Vocabulary
from acclimate.world import Drive, Shift, weather
from benchmarks.drive import FPS, STRIDE
from benchmarks.scenes import TIMES, Frame, Scene

Arrays = dict[str, NDArray[np.uint8]]
DAY = Shift()


@dataclass(frozen=True)
class Segment:
    """Some frames under one shift, then a round, unless `learns` is False."""

    name: str
    shift: Shift = DAY
    learns: bool = True


NIGHT, FOG, RAIN = Shift("night", 0.95), Shift("fog", 0.6), Shift("rain", 0.7)
CAMERA = Shift("cast", 0.7)
SUDDEN = (
    Segment("day"), Segment("night", NIGHT), Segment("fog", FOG), Segment("rain", RAIN),
    Segment("day_again"), Segment("new_domain", CAMERA), Segment("night_again", NIGHT),
)  # fmt: skip
GRADUAL = (
    Segment("day_before", learns=False), Segment("evening", Shift("night", 0.2)),
    Segment("dusk", Shift("night", 0.45)), Segment("late_dusk", Shift("night", 0.6)),
    Segment("nightfall", Shift("night", 0.8)), Segment("gradual_night", NIGHT),
    Segment("before_dawn", Shift("night", 0.7)), Segment("dawn", Shift("night", 0.45)),
    Segment("morning", Shift("night", 0.2)), Segment("day_back"),
)  # fmt: skip
STREAMS = {"sudden": SUDDEN, "gradual": GRADUAL}
QUICK = {
    "sudden": (SUDDEN[0], SUDDEN[1], SUDDEN[4]),
    "gradual": (GRADUAL[0], GRADUAL[2], GRADUAL[5]),
}


def look(drive: Drive, index: int, shift: Shift, camera: int) -> tuple[Frame, Frame]:
    """A frame (H,W,3) and its source labels (H,W); `camera` decides the hue of a colour cast."""
    view = drive.view(index)
    seed = camera if shift.kind == "cast" else drive.seed
    return np.ascontiguousarray(weather.apply(view, shift, seed, index)), view.labels


@dataclass(frozen=True)
class Renders:
    """Frames of one stream and its scenes, kept in `folder`; processes may share it."""

    folder: Path
    seed: int
    scene_seeds: Sequence[int]

    def segment(self, number: int, segment: Segment, frames: int) -> list[Frame]:
        """The stream's frames (H,W,3) of its segment `number`."""
        name = f"stream-{self.seed}-{number}-{frames}-{_title(segment.shift)}"
        return list(self._once(name, lambda: self._drive(number, segment, frames))["frames"])

    def scenes(self, segment: Segment, words: Vocabulary) -> list[Scene]:
        """Labelled scenes under the segment's shift."""
        first, last = self.scene_seeds[0], self.scene_seeds[-1]
        name = f"scenes-{self.seed}-{first}-{last}-{_title(segment.shift)}"
        stored, to_ours = self._once(name, lambda: self._look_around(segment)), words.from_source()
        pairs = zip(stored["frames"], stored["labels"], strict=True)
        return [Scene(tuple(frames), tuple(to_ours[labels])) for frames, labels in pairs]

    def _drive(self, number: int, segment: Segment, frames: int) -> Arrays:
        drive, start = Drive(self.seed, fps=FPS), number * frames
        indices = range(STRIDE * start, STRIDE * (start + frames), STRIDE)
        return {"frames": np.stack([look(drive, i, segment.shift, self.seed)[0] for i in indices])}

    def _look_around(self, segment: Segment) -> Arrays:
        rows = [
            [look(drive, index, segment.shift, self.seed) for index in TIMES]
            for drive in map(Drive, self.scene_seeds)
        ]
        images, labels = (np.stack([[pair[i] for pair in row] for row in rows]) for i in (0, 1))
        return {"frames": images, "labels": labels}

    def _once(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """What was kept under `name`, or else made now; it is there whole or not at all."""
        path = self.folder / f"{name}.npz"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            mine = path.with_suffix(f".{os.getpid()}.tmp")
            made: dict[str, Any] = {**make()}
            with mine.open("wb") as file:
                np.savez(file, **made)
            mine.replace(path)
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}


def _title(shift: Shift) -> str:
    return f"{shift.kind}-{shift.strength:g}"
