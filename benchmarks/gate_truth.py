"""What a candidate really does: labels of fresh scenes, and the frames that follow a swap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from acclimate.configs.schema import ProbationConfig
from acclimate.configs.vocabulary import Vocabulary
from acclimate.daemon.probation import Probation, Signals, combine
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.evaluate import confusion
from acclimate.world import Drive, Shift
from benchmarks.scenes import TIMES, Frame, Tables, interval, miou

CLEAR = 3.0  # points: an effect beyond them is told by one frame of each scene


def labelled_frames(
    seeds: Sequence[int], shift: Shift, words: Vocabulary, at: Callable[[int], int]
) -> list[tuple[Frame, Frame]]:
    """A frame of each drive, with its labels in class indices; `at` says when by its number."""
    table, found = words.from_source(), []
    for number, seed in enumerate(seeds):
        image, labels = Drive(seed).frame(at(number), shift)
        found.append((np.ascontiguousarray(image), table[labels]))
    return found


class Truth:
    """Labelled scenes, their frames at TIMES in two halves; what champions say is kept."""

    def __init__(self, engine: Engine, seeds: range, shift: Shift, words: Vocabulary) -> None:
        self.engine = engine
        self.halves = [
            labelled_frames(seeds, shift, words, lambda n, k=k: TIMES[(n + k) % 2])  # type: ignore[misc]
            for k in (0, 1)
        ]
        self._known: dict[tuple[str, int], Tables] = {}

    def gains(self, candidate: Bundle, over: Mapping[str, Bundle]) -> dict[str, dict[str, Any]]:
        """Points of mIoU that the candidate gains over each champion, with a 95 % interval and how
        many frames told: a second one of each scene where the first champion is near."""
        new = self._says(candidate, 0)
        old = {name: self._champion(name, bundle, 0) for name, bundle in over.items()}
        frames = len(new)
        if abs(miou(new) - miou(next(iter(old.values())))) < CLEAR:
            new, frames = new + self._says(candidate, 1), 2 * frames
            old = {name: old[name] + self._champion(name, over[name], 1) for name in old}
        return {
            name: {
                "gain": round(miou(new) - miou(rows), 2), "gain_95": interval(new, rows),
                "frames": frames,
            } for name, rows in old.items()
        }  # fmt: skip

    def _champion(self, name: str, bundle: Bundle, half: int) -> Tables:
        if (name, half) not in self._known:
            self._known[name, half] = self._says(bundle, half)
        return self._known[name, half]

    def _says(self, bundle: Bundle, half: int) -> Tables:
        """Confusion (N,T,T) of a scene's frame."""
        return np.stack([
            confusion(truth, self.engine.infer(frame, bundle).labels, bundle.classes)
            for frame, truth in self.halves[half]
        ])  # fmt: skip


def probation(
    engine: Engine, serving: Bundle, accepted: Bundle, frames: Sequence[Frame],
    judged_on: Sequence[Frame], config: ProbationConfig,
) -> dict[str, Any]:  # fmt: skip
    """What probation says of a swap: the first half of `frames` are before it, the rest after; the
    gate saw those that it was `judged_on`."""
    middle = len(frames) // 2
    before = combine([signals(engine, serving, frame) for frame in frames[:middle]])
    seen = combine([signals(engine, accepted, frame) for frame in judged_on])
    watch = Probation(config, before, None if seen is None else seen.histogram.tolist())
    for number, frame in enumerate(frames[middle:], 1):
        watch.add(signals(engine, accepted, frame))
        if (reason := watch.regression()) is not None:
            return {"rolled_back": True, "after_frames": number, "reason": reason}
    return {"rolled_back": False, "after_frames": len(frames) - middle, **watch.numbers}


def signals(engine: Engine, bundle: Bundle, frame: Frame) -> Signals:
    """Of one frame."""
    result = engine.infer(frame, bundle)
    return Signals(1, np.asarray(result.histogram, float), float(result.confidence[0]))
