"""Adaptation without the clock: a stream into the buffer, then rounds as the daemon runs them."""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.adapt.main import run
from acclimate.adapt.round import Round
from acclimate.configs.schema import Config
from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.engines import open_engine
from acclimate.world import Drive, Shift

FPS, STRIDE = 8.0, 2


@dataclass
class Adapted:
    """Where a stream's rounds led: what serves at its end, and every verdict on the way."""

    bundle: Bundle
    folder: Path
    rounds: list[dict[str, Any]] = field(default_factory=list)


def adapt_along(
    config: Config, state: Path, work: Path, seed: int, shifts: Sequence[Shift], frames: int
) -> Adapted:
    """Drive `frames` frames under each shift, then one round; each starts from what the one before
    learned, served or not. What the gate lets through or puts instead serves, without probation."""
    engine = open_engine(state / "engine", config.serving.threads)
    shutil.rmtree(work, ignore_errors=True)
    base = state / "adapters" / "base"
    best = Adapted(load_bundle(base, engine.info), base)
    good, learned = [base], None
    buffer, drive, index = FrameBuffer(work / "buffer", config.buffer), Drive(seed, fps=FPS), 0
    for number, shift in enumerate(shifts, 1):
        for _ in range(frames):
            image = np.ascontiguousarray(drive.frame(index, shift)[0])
            result = engine.infer(image, best.bundle)
            buffer.offer(image, result.histogram, result.embedding)
            index += STRIDE
        task = Round(
            f"r{number}", number, best.folder, state / "engine", buffer.folder, work / f"r{number}",
            config, seed=seed * 100 + number, good=tuple(good), start=learned,
        )  # fmt: skip
        told = {"shift": shift.kind, "strength": shift.strength, **play(task)}
        best.rounds.append(told)
        if not told["instead"]:
            learned = task.learned_dir if task.learned_dir.is_dir() else None
        if told["accepted"] or told["instead"]:
            best.bundle, best.folder = load_bundle(task.out_dir, engine.info), task.out_dir
            good.append(task.out_dir)
    return best


def play(task: Round) -> dict[str, Any]:
    """A round in this process: its id, seconds and verdict."""
    started = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()):  # its progress is for a daemon
        verdict = run(task)
    seconds = round(time.monotonic() - started, 2)
    return {"id": task.id, "seconds": seconds, **verdict.to_dict()}
