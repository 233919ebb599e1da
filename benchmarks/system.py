"""The whole system on frames: serve, buffer, recall, rounds behind the gate; without the clock.

What the daemon does with the same parts, but for three things: a round comes at the end of every
segment and not when drift asks for one, so that the gate has to say no where nothing is to be won;
it runs while the stream stands still; and what is accepted is not put on probation.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.adapt.round import Round
from acclimate.configs.schema import Config
from acclimate.daemon.drift import Collected, Condition, Drift
from acclimate.errors import AdaptError
from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.engine import Result
from acclimate.runtime.engines import open_engine
from benchmarks.drive import play
from benchmarks.memory import forget_peak, memory_mib


class System:
    """`serving` is what serves; `good` all that may, by id, oldest first, the base among them."""

    def __init__(self, config: Config, state: Path, work: Path, seed: int) -> None:
        shutil.rmtree(work, ignore_errors=True)
        self.config, self.state, self.work, self.seed = config, state, work, seed
        self.engine = open_engine(state / "engine", config.serving.threads)
        base = load_bundle(state / "adapters" / "base", self.engine.info)
        self.serving: Bundle = base
        self.good: dict[str, Path] = {base.id: state / "adapters" / "base"}
        self.recalled: list[str] = []
        self._learned: Path | None = None  # where the next round starts, if not from what serves
        self._buffer = FrameBuffer(work / "buffer", config.buffer)
        self._drift, self._rounds = Drift(config.drift), 0
        self._first = Collected(config.drift.reference_frames)
        self._conditions: dict[str, Condition | None] = {base.id: None}

    def drive(self, frames: Sequence[NDArray[np.uint8]]) -> None:
        """Serve and buffer frames (H,W,3); recall a good adapter when its condition returns."""
        for frame in frames:
            seen = self.engine.infer(frame, self.serving)
            self._buffer.offer(frame, seen.histogram, seen.embedding)
            self._drift.add(*_signs(seen))
            self._know_the_base(seen)
            self._recall()

    def adapt(self) -> dict[str, Any]:
        """A round from what serves; what it leaves serves next. Its verdict, seconds, memory."""
        self._rounds += 1
        name = f"r{self._rounds}"
        task = Round(
            name, self._rounds, self.good[self.serving.id], self.state / "engine",
            self._buffer.folder, self.work / name, self.config,
            seed=self.seed * 100 + self._rounds, good=tuple(self.good.values()),
            start=self._learned,
        )  # fmt: skip
        forget_peak()
        try:
            told = play(task)
        except AdaptError as error:
            self._learned = None
            return {"id": name, "verdict": "failed", "reasons": [str(error)], "parent": _of(task)}
        if not told["instead"]:
            self._learned = task.learned_dir if task.learned_dir.is_dir() else None
        if told["accepted"] or told["instead"]:
            self._take(load_bundle(task.out_dir, self.engine.info), task.out_dir)
        verdict = "accepted" if told["accepted"] else "instead" if told["instead"] else "refused"
        goes_on = self._learned is not None
        return {"verdict": verdict, "parent": _of(task), "peak_mb": _peak(), "goes_on": goes_on,
                **told}  # fmt: skip

    def _take(self, bundle: Bundle, folder: Path) -> None:
        self.serving, self.good[bundle.id] = bundle, folder
        self._conditions[bundle.id] = Condition.of(bundle.manifest.get("condition"))

    def _know_the_base(self, seen: Result) -> None:
        unknown = self.serving.id == "base" and self._conditions["base"] is None
        if unknown and self._first.add(*_signs(seen)):
            self._conditions["base"] = Condition.around(self._first.embeddings)

    def _recall(self) -> None:
        ratio = self._drift.ratio(self._conditions[self.serving.id])
        others = {k: v for k, v in self._conditions.items() if k != self.serving.id}
        name = None if ratio is None else self._drift.nearer(ratio, others)
        if name is not None:
            self.serving = load_bundle(self.good[name], self.engine.info)
            self._learned = None
            self.recalled.append(name)


def _signs(seen: Result) -> tuple[Any, float, Any, int]:
    """What drift takes of one frame."""
    embedding, shares = seen.embedding.astype(float), seen.histogram.astype(float)
    return embedding, float(seen.confidence[2]), shares, 1


def _of(task: Round) -> str:
    return task.parent_dir.name


def _peak() -> float:
    """MB that this process, which also drives and serves, took at most in its round."""
    return round(memory_mib("VmHWM") * 2**20 / 1e6, 1)
