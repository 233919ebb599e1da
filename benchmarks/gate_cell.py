"""One stream under one shift: the court as a round convenes it, candidates, their true effects."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peft import PeftModel

from acclimate.adapt.batch import Frames
from acclimate.adapt.gate.contest import SERVING
from acclimate.adapt.gate.trial import Court
from acclimate.adapt.leave import Leaver, Sample
from acclimate.adapt.main import (
    bundle_of,
    choose,
    hold,
    model_of,
    temperature_of,
)
from acclimate.adapt.replay import looks
from acclimate.adapt.round import Round
from acclimate.adapt.source import Scenes, scenes_to_learn_from
from acclimate.adapt.train import train_round
from acclimate.adapt.validate import Verdict
from acclimate.adapt.words import Words
from acclimate.configs.schema import Config
from acclimate.configs.vocabulary import load_served
from acclimate.model.colour import recolour_frame
from acclimate.model.load import load_base
from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.engines import open_engine
from acclimate.world import Drive, Shift
from benchmarks.drive import FPS, STRIDE
from benchmarks.gate_candidates import Candidate, Plan, Workshop, candidates
from benchmarks.gate_numbers import effect, surplus
from benchmarks.gate_truth import Truth, labelled_frames, probation
from benchmarks.scenes import Frame

MOST_FRAMES = 200  # of a stream under one shift
TAUGHT_AT = 60
Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """Judged is under the last of `shifts`; under each before it a round was accepted. `other` is
    the condition that poisons; the drives `taught` have labels to learn from, `report_on` tell the
    truth."""

    name: str
    number: int
    stream: int
    shifts: tuple[Shift, ...]
    other: Shift
    taught: range
    report_on: range
    plan: Plan


@dataclass
class Stream:
    """A drive into a buffer, as far as there is enough to learn from and to judge by."""

    config: Config
    engine: Engine
    drive: Drive
    buffer: FrameBuffer
    index: int = 0

    def under(self, shift: Shift, serving: Bundle) -> None:
        """Drive until the newest frames of the buffer, held out and not, are all of this shift."""
        before, gate, newest = len(self.buffer.entries), self.config.gate, self.config.adapt.newest
        for _ in range(MOST_FRAMES):
            self.offer(shift, serving)
            new = self.buffer.entries[before:]
            held = sum(entry.heldout for entry in new)
            if held >= gate.frames and len(new) - held >= newest:
                break

    def offer(self, shift: Shift, serving: Bundle) -> None:
        """The next frame."""
        frame = self.next(shift)
        result = self.engine.infer(frame, serving)
        self.buffer.offer(frame, result.histogram, result.embedding)

    def next(self, shift: Shift) -> Frame:
        """A frame that no buffer has seen."""
        frame = np.ascontiguousarray(self.drive.frame(self.index, shift)[0])
        self.index += STRIDE
        return frame


@dataclass
class Trial:
    """What `acclimate.adapt.main.run` has in hand when it begins to train, but that every candidate
    serves in `colour`, the best champion's: none is asked in its own as well. `seen` are the
    training frames."""

    task: Round
    engine: Engine
    accepted: Bundle
    court: Court
    training: list[Sample]
    heldout: list[Sample]
    words: Words
    model: PeftModel
    colour: NDArray[np.float32]
    seen: Frames
    scenes: Scenes | None

    def build(self) -> Bundle:
        """The model as it is now."""
        return bundle_of(
            self.task, self.accepted, self.engine, self.model, self.words, self.colour, self.heldout
        )  # fmt: skip

    def judge(self, bundle: Bundle) -> Verdict:
        """The product's verdict, less the numbers that only inform."""
        return self.court.judge(bundle)

    def accept(self) -> Path:
        """The usual round, left as accepted whatever the gate says of it: what serves from now."""
        task = self.task
        told = train_round(
            self.model, self.words, self.seen, task.config.adapt, task.seed, lambda *_: None,
            scenes=self.scenes,
        )  # fmt: skip
        passed = Verdict(True, (), {})
        left = Leaver(task, self.court, self.training)
        left.learned(task.out_dir, self.build(), self.model, told, passed)
        return task.out_dir


def convene(task: Round, engine: Engine) -> Trial:
    """The steps of a round up to its training, in the same order."""
    vocabulary, settings = load_served(task.config.model.vocabulary), task.config.adapt
    accepted = load_bundle(task.parent_dir, engine.info, vocabulary.digest)
    training, heldout = choose(task)
    base = load_base(task.config.model.weights)
    words = Words(base, vocabulary)
    _, court, _ = hold(task, engine, base, vocabulary, accepted, training, heldout)
    court.report = None
    colour = court.best.bundle.inputs["colour"]
    scenes = scenes_to_learn_from(task.config, vocabulary, engine.info.size)
    seen, scenes = looks([frame for _, frame in training], scenes, colour)
    words.temperature = temperature_of(base, words, seen, settings)
    model = model_of(base, task.parent_dir, settings)
    return Trial(
        task, engine, accepted, court, training, heldout, words, model, colour, seen, scenes
    )  # fmt: skip


def workshop(trial: Trial, cell: Cell) -> Workshop:
    """Where the cell's candidates are made."""
    words = load_served(trial.task.config.model.vocabulary)
    taught = labelled_frames(cell.taught, cell.shifts[-1], words, lambda _: TAUGHT_AT)
    other = labelled_frames(cell.taught[:8], cell.other, words, lambda _: TAUGHT_AT)
    return Workshop(
        trial.model, trial.words, trial.task.config.adapt, trial.seen,
        [recolour_frame(frame, trial.colour) for frame, _ in other],
        Scenes(
            np.stack([recolour_frame(frame, trial.colour) for frame, _ in taught]),
            np.stack([truth for _, truth in taught]),
        ),
        trial.build, trial.task.seed, trial.scenes,
    )  # fmt: skip


def run_cell(config: Config, state: Path, work: Path, cell: Cell) -> list[Row]:
    """Every candidate of a cell: what the gate said, and what is true."""
    engine = open_engine(state / "engine", 1, config.serving.engine)
    shutil.rmtree(work, ignore_errors=True)
    buffer = FrameBuffer(work / "buffer", config.buffer)
    stream = Stream(config, engine, Drive(cell.stream, fps=FPS), buffer)
    good = [state / "adapters" / "base"]
    for number, shift in enumerate(cell.shifts, 1):
        stream.under(shift, load_bundle(good[-1], engine.info))
        task = Round(
            f"r{number}", number, good[-1], state / "engine", buffer.folder, work / f"r{number}",
            config, seed=100 * cell.stream + number, good=tuple(good),
        )  # fmt: skip
        trial = convene(task, engine)
        if number < len(cell.shifts):
            good.append(trial.accept())
    rows = list(judged(trial, cell, stream))
    shutil.rmtree(work)
    return rows


def judged(trial: Trial, cell: Cell, stream: Stream) -> Iterator[Row]:
    """One row a candidate."""
    words = load_served(trial.task.config.model.vocabulary)
    truth = Truth(trial.engine, cell.report_on, cell.shifts[-1], words)
    shop, frames = workshop(trial, cell), list[Frame]()
    for candidate in candidates(shop, cell.plan, cell.number):
        row = judge_one(trial, truth, candidate) | {"cell": cell.name}
        if row["accepted"] and effect(row) == "harmful":
            watch = trial.task.config.probation
            while len(frames) < watch.before_frames + watch.frames:
                frames.append(stream.next(cell.shifts[-1]))
            row["probation"] = probation(
                trial.engine, trial.accepted, candidate[2], frames, trial.court.contest.frames,
                watch,
            )  # fmt: skip
        yield row


def judge_one(trial: Trial, truth: Truth, candidate: Candidate) -> Row:
    """The verdict, and the gain over the champion that it would replace and over what serves."""
    kind, name, bundle = candidate
    verdict, contest = trial.judge(bundle), trial.court.contest
    numbers = verdict.numbers
    row = {
        "kind": kind, "name": name, "champion": contest.best, "accepted": verdict.accepted,
        "reasons": list(verdict.reasons), "gain": numbers.get("gain"),
        "score": surplus(numbers, contest.settings), "numbers": numbers,
        "judge_s": numbers.get("judged_s"), "true_gain": None,
    }  # fmt: skip
    if not all(np.isfinite(value).all() for value in bundle.inputs.values()):
        return row  # no engine is asked: it harms
    rivals = {who: contest.champions[who].bundle for who in (contest.best, SERVING)}
    over = truth.gains(bundle, rivals)
    best = over[contest.best]
    return row | {
        "true_gain": best["gain"], "true_gain_95": best["gain_95"], "true_frames": best["frames"],
        "true_gain_over_serving": over[SERVING]["gain"],
    }  # fmt: skip
