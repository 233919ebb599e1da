"""One round = one process: load the accepted adapter, train, validate, leave a candidate, go.

    python -m acclimate.adapt.main --round round.json

Speaks JSON lines on stdout: `progress`, then one `verdict` (exit 0), or `error` (exit 75 when the
buffer holds too little, 1 otherwise). It writes the candidate alone, to the
round's `out_dir` or, if it is merely sound, to its `learned_dir`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel

from acclimate.adapt.batch import Frames
from acclimate.adapt.gate.champions import Champion, champions, earlier, elsewhere
from acclimate.adapt.gate.contest import SERVING, Contest
from acclimate.adapt.gate.memory import Lesson, remembered, source_lesson
from acclimate.adapt.gate.report import Reporter
from acclimate.adapt.gate.trial import Court
from acclimate.adapt.hood import Hoods
from acclimate.adapt.leave import PROBES, Leaver, Sample
from acclimate.adapt.lora import (
    adapter_for,
    copy_tensors,
    load_adapter,
    network_of,
)
from acclimate.adapt.replay import looks
from acclimate.adapt.round import Round, read_round
from acclimate.adapt.source import Scenes, scenes_to_judge_by, scenes_to_learn_from
from acclimate.adapt.temperature import temperature_for
from acclimate.adapt.train import Trained, train_round
from acclimate.adapt.validate import Verdict
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig
from acclimate.configs.vocabulary import Vocabulary, load_served
from acclimate.errors import AcclimateError, BundleError, NotEnoughData, SourceError
from acclimate.model.colour import UNCHANGED, recolour_frame
from acclimate.model.load import BaseModel, load_base
from acclimate.model.projections import merged_projections
from acclimate.runtime.buffer import Entry, FrameBuffer
from acclimate.runtime.bundle import ADAPTER, Arrays, Bundle, load_bundle
from acclimate.runtime.datasets import find_own
from acclimate.runtime.engine import Engine
from acclimate.runtime.engines import open_engine
from acclimate.runtime.evaluate import evaluate
from acclimate.runtime.job import manifest
from acclimate.runtime.parent import die_with_parent
from acclimate.runtime.truth import labelled

MIN_HELDOUT = 4
NO_DATA = 75


def run(task: Round) -> Verdict:
    """The round, from the accepted bundle to a verdict and, if something is better, a candidate.

    Where something free is better than what serves, that is the candidate, at once: the light may
    not wait for a training. Only where nothing is, something is learned.
    """
    started, settings = time.monotonic(), task.config.adapt
    torch.set_num_threads(settings.threads)
    how = task.config.serving
    engine = open_engine(task.engine_dir, settings.threads, how.engine, how.precision, how.capacity)
    vocabulary = load_served(task.config.model.vocabulary)
    accepted = load_bundle(task.parent_dir, engine.info, vocabulary.digest)
    training, heldout = choose(task)

    base = load_base(task.config.model.weights)
    words = Words(base, vocabulary)
    frames = [frame for _, frame in training]
    rivals, court, hoods = hold(task, engine, base, vocabulary, accepted, training, heldout)
    left = Leaver(task, court, training)
    if task.mode == "train" and (name := court.free_winner()) is not None:
        verdict = court.instead(name)
        left.free(rivals[name], name, verdict)
        return verdict

    start = _start(task, engine, vocabulary)
    learns = task.mode == "train" and settings.strategy != "frozen"
    moves = learns and settings.colour != "plain"
    scenes = scenes_to_learn_from(task.config, vocabulary, engine.info.size) if learns else None
    shown, scenes = looks(frames, scenes, court.best.bundle.inputs["colour"] if moves else None)
    words.temperature = temperature_of(base, words, shown, settings)
    model = model_of(base, start, settings)
    valid = torch.from_numpy(hoods.over([entry.camera for entry, _ in training]))
    spent = time.monotonic() - started
    trained = _train(task, start, model, words, shown, valid, scenes, spent)
    colour = UNCHANGED if moves else accepted.inputs["colour"]
    candidate = bundle_of(task, accepted, engine, model, words, colour, heldout)
    seen = court.suited(candidate) if moves else None
    if seen is not None and seen.bundle is not candidate:
        candidate = probed(candidate.in_colours(seen.bundle.inputs["colour"]), engine)
    verdict = court.judge(candidate, seen)
    verdict.numbers["champions_s"] = round(court.seconds, 2)
    if verdict.accepted:
        left.learned(task.out_dir, candidate, model, trained, verdict)
    elif task.mode == "train" and verdict.sound and settings.go_on:
        left.learned(task.learned_dir, candidate, model, trained, verdict)
    return verdict


def hold(
    task: Round, engine: Engine, base: BaseModel, vocabulary: Vocabulary, accepted: Bundle,
    training: list[Sample], heldout: list[Sample],
) -> tuple[dict[str, Champion], Court, Hoods]:  # fmt: skip
    """Everything that is free to serve, asked about the held-out frames, and what of each camera's
    frames counts."""
    started, frames = time.monotonic(), [frame for _, frame in training]
    own_labels = _labelled(task, engine, vocabulary)
    good = earlier(task.good, engine.info, vocabulary.digest)
    here = np.mean([entry.embedding for entry, _ in training], 0)
    past = elsewhere(good, here)
    serving = Champion(accepted, task.parent_dir)
    rivals = champions(task.config, serving, good, base.daylight, here)
    colour = rivals[SERVING].bundle.inputs["colour"]
    samples = [*training, *heldout]
    hoods = Hoods(
        task.config, [entry.camera for entry, _ in samples],
        [recolour_frame(frame, colour) for _, frame in samples],
    )  # fmt: skip
    valid = hoods.over([entry.camera for entry, _ in heldout])
    unseen, bundles = [frame for _, frame in heldout], {n: r.bundle for n, r in rivals.items()}
    source = scenes_to_judge_by(task.config, vocabulary, engine.info.size)
    dressed = _dressed(source, frames) if source and task.config.gate.dressed else None
    contest = Contest(engine, unseen, valid, bundles, task.config.gate, dressed)
    return rivals, Court(
        contest,
        remembered([one.bundle for one in past], [one.folder for one in past],
                   task.config.gate.memory_frames),
        source_lesson(contest.base.bundle, source),
        own_labels, vocabulary.names,
        [i for i, one in enumerate(vocabulary.classes) if one.safety],
        Reporter(contest, base, vocabulary.strings, [entry.sequence for entry, _ in heldout]),
        time.monotonic() - started,
    ), hoods  # fmt: skip


def _dressed(source: Scenes, frames: Frames) -> Lesson:
    """What a bundle is asked about in its own colours: the source in the stream's light."""
    worn = source.in_light_of(frames)
    return Lesson(worn.frames, worn.labels, None)


def _labelled(
    task: Round, engine: Engine, words: Vocabulary
) -> Callable[[Bundle], NDArray[np.float64]] | None:
    """How a bundle does on the user's own folder, if there is one."""
    if task.config.gate.labelled_dir is None:
        return None
    folder = Path(task.config.gate.labelled_dir)
    find_own(folder)  # what is missing is told before a minute is spent
    return lambda bundle: evaluate(
        engine, bundle, labelled(folder, words), task.config.serving.fit
    )  # fmt: skip


def choose(task: Round) -> tuple[list[Sample], list[Sample]]:
    """Training and held-out frames, read at once: the runtime goes on replacing entries."""
    buffer = FrameBuffer(task.buffer_dir, task.config.buffer, reader=True)
    if buffer.locked is not None:
        raise SourceError(buffer.locked)
    training = _load(buffer, buffer.training(task.config.adapt.newest))
    heldout = _load(buffer, buffer.heldout(task.config.gate.frames))
    if len(training) < task.config.adapt.min_frames or len(heldout) < MIN_HELDOUT:
        raise NotEnoughData(
            f"buffer {task.buffer_dir} has {len(training)} frames to train on and {len(heldout)} "
            f"held out; a round needs {task.config.adapt.min_frames} and {MIN_HELDOUT}: drive on"
        )
    return training, heldout


def _load(buffer: FrameBuffer, entries: list[Entry]) -> list[Sample]:
    """Entries with their frames; those that are gone by now are left out."""
    samples = []
    for entry in entries:
        with contextlib.suppress(SourceError):
            samples.append((entry, buffer.load(entry)))
    return samples


def _start(task: Round, engine: Engine, vocabulary: Vocabulary) -> Path:
    """What the last sound round learned, though it does not serve; without it what serves."""
    with contextlib.suppress(BundleError):
        if task.start is not None and task.config.adapt.go_on:
            load_bundle(task.start, engine.info, vocabulary.digest)
            return task.start
    return task.parent_dir


def model_of(base: BaseModel, start: Path, settings: AdaptConfig) -> PeftModel:
    """`base` in the adapter of the bundle `start`, or in a new one that changes nothing."""
    folder = start / ADAPTER
    if folder.is_dir():
        return load_adapter(base.network, folder)
    return adapter_for(base.network, settings)


@torch.no_grad()
def temperature_of(base: BaseModel, words: Words, frames: Frames, settings: AdaptConfig) -> float:
    """What divides logits before any softmax, on frames in their colours."""
    return temperature_for(base, words.embed(), words.owner, frames, settings)


def _train(
    task: Round, start: Path, model: PeftModel, words: Words, frames: Frames, valid: torch.Tensor,
    scenes: Scenes | None, spent: float,
) -> Trained:  # fmt: skip
    """Train, or in mode "validate" take the given adapter's tensors as they are. `spent` seconds
    have passed; to judge what was learned takes less than that."""
    if task.mode == "validate" and task.adapter_dir is not None:
        copy_tensors(model, task.adapter_dir)
        return Trained(0, (), 0.0)

    parent = os.getppid()

    def progress(step: int, loss: float) -> None:
        if os.getppid() != parent:
            raise SystemExit("the daemon is gone")
        say({"event": "progress", "step": step, "steps": task.config.adapt.steps, "loss": loss})

    age = (manifest(start) or {}).get("training", {}).get("age", 0)
    left = max(1.0, task.config.adapt.deadline_s - 2 * spent)
    settings = replace(task.config.adapt, deadline_s=left)
    return train_round(
        model, words, frames, settings, task.seed, progress, age, scenes=scenes, valid=valid
    )


@torch.no_grad()
def bundle_of(
    task: Round, accepted: Bundle, engine: Engine, model: PeftModel, words: Words,
    colour: NDArray[np.float32], heldout: list[Sample],
) -> Bundle:  # fmt: skip
    """The bundle as the engine will take it, with what it says of the probe frames."""
    blocks = sum(name.endswith("q_proj.weight") for name in engine.info.inputs)
    tensors = merged_projections(network_of(model), blocks)
    inputs: Arrays = {name: value.numpy() for name, value in tensors.items()}
    inputs |= {"text": words.embed().numpy(), "string_to_class": words.owner.numpy()}
    manifest = {
        "id": task.id, "parent": accepted.id, "sequence": task.sequence, "kind": "adapter",
        "base_digest": engine.info.base_digest,
        "vocabulary_digest": words.digest,
    }  # fmt: skip
    probes = np.stack([frame for _, frame in heldout[:PROBES]])
    bundle = Bundle(task.id, manifest, inputs, probes, np.empty(0, np.uint8))
    return probed(bundle.in_colours(colour), engine)


def probed(bundle: Bundle, engine: Engine) -> Bundle:
    """A bundle with what it says of its probe frames."""
    labels = np.stack([engine.infer(frame, bundle).labels for frame in bundle.probe_frames])
    return replace(bundle, probe_labels=labels)


def say(message: dict[str, Any]) -> None:
    """One JSON line to the daemon."""
    print(json.dumps(message), flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Process entry; see the module."""
    parser = argparse.ArgumentParser(description="Run one adaptation round.")
    parser.add_argument("--round", type=Path, required=True, help="round.json of the daemon")
    options = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    die_with_parent()
    try:
        task = read_round(options.round)
        verdict = run(task)
    except NotEnoughData as error:
        say({"event": "error", "message": str(error)})
        return NO_DATA
    except (AcclimateError, OSError) as error:
        say({"event": "error", "message": str(error)})
        return 1
    where = str(task.out_dir) if verdict.accepted or verdict.instead else None
    learned = str(task.learned_dir) if task.learned_dir.is_dir() else None
    say({"event": "verdict", **verdict.to_dict(), "candidate": where, "learned": learned})
    return 0


if __name__ == "__main__":
    sys.exit(main())
