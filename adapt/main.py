"""One round = one process: load the accepted adapter, train, validate, leave a candidate, go.

    python -m acclimate.adapt.main --round round.json

Speaks JSON lines on stdout: `progress`, then one `verdict` (exit 0), or `error` (exit 75 when the
buffer holds too little, 1 otherwise). Nothing but the round's `out_dir` is ever written.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel

from acclimate.adapt.batch import Frames
from acclimate.adapt.hood import valid_pixels
from acclimate.adapt.lora import (
    adapter_for,
    copy_tensors,
    load_adapter,
    network_of,
    save_adapter,
)
from acclimate.adapt.round import Round, read_round
from acclimate.adapt.temperature import temperature_for
from acclimate.adapt.train import Trained, train_round
from acclimate.adapt.validate import Reference, Verdict, judge, reference
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig
from acclimate.configs.vocabulary import load_served
from acclimate.errors import AcclimateError, NotEnoughData, SourceError
from acclimate.model.colour import recolour_frame, towards_daylight
from acclimate.model.load import BaseModel, load_base
from acclimate.model.projections import merged_projections
from acclimate.runtime.buffer import Entry, FrameBuffer
from acclimate.runtime.bundle import ADAPTER, Arrays, Bundle, load_bundle, write_bundle
from acclimate.runtime.durable import fresh_folder
from acclimate.runtime.engine import Engine
from acclimate.runtime.engines import open_engine
from acclimate.runtime.evaluate import labelled_miou

Sample = tuple[Entry, NDArray[np.uint8]]
HELDOUT, MIN_HELDOUT, PROBES = 12, 4, 4
NO_DATA = 75


def run(task: Round) -> Verdict:
    """The round, from the accepted bundle to a verdict and, if accepted, a candidate."""
    settings = task.config.adapt
    torch.set_num_threads(settings.threads)
    how = task.config.serving
    engine = open_engine(task.engine_dir, settings.threads, how.engine, how.precision, how.capacity)
    vocabulary = load_served(task.config.model.vocabulary)
    accepted = load_bundle(task.parent_dir, engine.info, vocabulary.digest)
    training, heldout = _choose(task)

    base = load_base(task.config.model.weights)
    words = Words(base, vocabulary)
    model = _accepted_model(base, task)
    frames, unseen = [frame for _, frame in training], [frame for _, frame in heldout]
    colour = _colours(task, accepted, base, frames)
    seen = [recolour_frame(frame, colour) for frame in frames]
    valid = valid_pixels(settings, seen)[0].numpy()
    words.temperature = _temperature(base, words, seen, settings)
    against = reference(model, words, [recolour_frame(frame, colour) for frame in unseen])
    trained = _train(task, accepted, model, words, seen)
    candidate = _candidate(task, accepted, engine, model, words, colour, unseen)
    verdict = _judge(task, engine, accepted, candidate, unseen, against.at(valid), valid)
    if verdict.accepted:
        _leave(task, candidate, model, trained, [entry for entry, _ in training], verdict)
    return verdict


def _choose(task: Round) -> tuple[list[Sample], list[Sample]]:
    """Training and held-out frames, read at once: the runtime goes on replacing entries."""
    buffer = FrameBuffer(task.buffer_dir, task.config.buffer, reader=True)
    training = _load(buffer, buffer.training(task.config.adapt.newest))
    heldout = _load(buffer, buffer.heldout(HELDOUT))
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


def _accepted_model(base: BaseModel, task: Round) -> PeftModel:
    folder = task.parent_dir / ADAPTER
    if folder.is_dir():
        return load_adapter(base.network, folder)
    return adapter_for(base.network, task.config.adapt)


def _colours(
    task: Round, accepted: Bundle, base: BaseModel, frames: list[NDArray[np.uint8]]
) -> NDArray[np.float32]:
    """Those of the accepted adapter, which was trained under them; from the base, the stream's,
    unless nothing is to be learned."""
    part, frozen = task.config.adapt.colour, task.config.adapt.strategy == "frozen"
    if frozen or (part and (task.parent_dir / ADAPTER).is_dir()):
        return accepted.inputs["colour"]
    return towards_daylight(frames, base.daylight, part)


@torch.no_grad()
def _temperature(base: BaseModel, words: Words, frames: Frames, settings: AdaptConfig) -> float:
    return temperature_for(base, words.embed(), words.owner, frames, settings)


def _train(
    task: Round, accepted: Bundle, model: PeftModel, words: Words, frames: Frames
) -> Trained:
    """Train, or in mode "validate" take the given adapter's tensors as they are."""
    if task.mode == "validate" and task.adapter_dir is not None:
        copy_tensors(model, task.adapter_dir)
        return Trained(0, (), 0.0)

    parent = os.getppid()

    def progress(step: int, loss: float) -> None:
        if os.getppid() != parent:
            raise SystemExit("the daemon is gone")
        say({"event": "progress", "step": step, "steps": task.config.adapt.steps, "loss": loss})

    age = accepted.manifest.get("training", {}).get("age", 0)
    return train_round(model, words, frames, task.config.adapt, task.seed, progress, age)


@torch.no_grad()
def _candidate(
    task: Round, accepted: Bundle, engine: Engine, model: PeftModel, words: Words,
    colour: NDArray[np.float32], heldout: list[NDArray[np.uint8]],
) -> Bundle:  # fmt: skip
    """The bundle as the engine will take it, with what it says of the probe frames."""
    blocks = sum(name.endswith("q_proj.weight") for name in engine.info.inputs)
    tensors = merged_projections(network_of(model), blocks)
    inputs: Arrays = {name: value.numpy() for name, value in tensors.items()}
    inputs |= {"text": words.embed().numpy(), "string_to_class": words.owner.numpy()}
    inputs["colour"] = colour
    manifest = {
        "id": task.id, "parent": accepted.id, "sequence": task.sequence, "kind": "adapter",
        "base_digest": engine.info.base_digest,
        "vocabulary_digest": words.digest,
    }  # fmt: skip
    probes = np.stack(heldout[:PROBES])
    bundle = Bundle(task.id, manifest, inputs, probes, np.empty(0, np.uint8))
    labels = np.stack([engine.infer(frame, bundle).labels for frame in probes])
    return Bundle(task.id, manifest, inputs, probes, labels)


def _judge(
    task: Round, engine: Engine, accepted: Bundle, candidate: Bundle,
    heldout: list[NDArray[np.uint8]], against: Reference, valid: NDArray[np.bool_],
) -> Verdict:  # fmt: skip
    """`against` and all labels at the pixels `valid` (H,W) alone; labelled folders whole."""
    if not all(np.isfinite(value).all() for value in candidate.inputs.values()):
        return Verdict(False, ("the adapter holds NaN or infinity",), {})
    same_colour = replace(accepted, inputs=accepted.inputs | {"colour": candidate.inputs["colour"]})
    served, before, after = (
        np.stack([engine.infer(frame, bundle).labels[valid] for frame in heldout])
        for bundle in (accepted, same_colour, candidate)
    )
    labelled = None
    if folder := task.config.gate.labelled_dir:
        how = task.config.serving.fit
        labelled = (
            labelled_miou(engine, accepted, Path(folder), how),
            labelled_miou(engine, candidate, Path(folder), how),
        )
    return judge(served, before, after, against, task.config.gate, candidate.classes, labelled)


def _leave(
    task: Round, candidate: Bundle, model: PeftModel, trained: Trained, training: list[Entry],
    verdict: Verdict,
) -> None:  # fmt: skip
    """Write the candidate's folder, whole or not at all."""
    folder = fresh_folder(task.out_dir.with_name(task.out_dir.name + ".adapter"))
    save_adapter(model, folder)
    manifest = candidate.manifest | {
        "created": time.time(),
        "training": trained.to_dict() | {"frames": [e.path.stem for e in training]},
        "verdict": verdict.to_dict(),
        "condition": condition([entry.embedding for entry in training]),
    }
    write_bundle(
        task.out_dir, manifest, candidate.inputs, candidate.probe_frames, candidate.probe_labels,
        folder,
    )  # fmt: skip
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def condition(embeddings: list[NDArray[np.float32]]) -> dict[str, Any]:
    """Where and how widely a set of frames lies: {"mean": (D,), "spread": mean distance}."""
    stacked = np.stack(embeddings)
    mean = stacked.mean(0)
    spread = float(np.linalg.norm(stacked - mean, axis=1).mean())
    return {"mean": mean.tolist(), "spread": spread}


def say(message: dict[str, Any]) -> None:
    """One JSON line to the daemon."""
    print(json.dumps(message), flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Process entry; see the module."""
    parser = argparse.ArgumentParser(description="Run one adaptation round.")
    parser.add_argument("--round", type=Path, required=True, help="round.json of the daemon")
    options = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        task = read_round(options.round)
        verdict = run(task)
    except NotEnoughData as error:
        say({"event": "error", "message": str(error)})
        return NO_DATA
    except (AcclimateError, OSError) as error:
        say({"event": "error", "message": str(error)})
        return 1
    where = str(task.out_dir) if verdict.accepted else None
    say({"event": "verdict", **verdict.to_dict(), "candidate": where})
    return 0


if __name__ == "__main__":
    sys.exit(main())
