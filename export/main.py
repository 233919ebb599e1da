"""Write what a runtime can serve: the engine, and the base as the first bundle.

    python -m acclimate.export.main --config resolved.json --state DIR
    python -m acclimate.export.main --config resolved.json --check

Leaves DIR/engine (the graph), DIR/adapters/base and, where the machine wants another engine than
ONNX Runtime in fp32, that in DIR/engines; does nothing when all are there and fit. --check only
says whether weights and words would do. Exit codes: 0 done, 78 wrong configuration or weights,
1 failed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from acclimate.configs.schema import Config, parse_config
from acclimate.configs.serving import ServingConfig
from acclimate.configs.vocabulary import Vocabulary, load_served
from acclimate.errors import BundleError, EngineError
from acclimate.export.build import build_wanted
from acclimate.export.learned import strangers
from acclimate.export.onnx import export_engine
from acclimate.export.parity import UNKNOWN, has_reference
from acclimate.export.process import exit_code, say
from acclimate.model.colour import UNCHANGED
from acclimate.model.load import BaseModel, load_base
from acclimate.model.projections import merged_projections
from acclimate.model.text import TextCache, embed_strings, token_ids
from acclimate.runtime import trust
from acclimate.runtime.bundle import Arrays, Bundle, load_bundle, write_bundle
from acclimate.runtime.durable import commit_folder, fresh_folder
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.engines import open_engine
from acclimate.runtime.parent import die_with_parent
from acclimate.world import Drive
from acclimate.world.classes import SOURCE_NAMES

BASE = "base"
PROBES = 4


def prepare(config: Config, state: Path) -> None:
    """Export what is missing or does not fit the config; progress goes to stderr."""
    base, vocabulary = _parts(config)
    inputs = base_inputs(base, vocabulary, config.adapt.blocks, TextCache(state / "text"))
    scenes = [Drive(seed, config.serving.size).frame(30) for seed in range(PROBES)]
    probes = [frame for frame, _ in scenes]
    if not _engine_fits(state / "engine", base, inputs, config.serving):
        trust.must_sign(f"the engine in {state}")
        say("exporting the engine (about 10 s for the default) ...")
        truth = meanings(vocabulary)[np.stack([labels for _, labels in scenes])]
        export_to(base, config, state / "engine", inputs, probes, truth)
    if not _bundle_fits(state / "adapters" / BASE, EngineInfo.load(state / "engine"), vocabulary):
        trust.must_sign(f"the base bundle in {state}")
        say("writing the base bundle ...")
        write_base_bundle(state, base, vocabulary, inputs, probes)


def make(config: Config, state: Path) -> None:
    """`prepare`, then the engine that the machine wants, when torch's base is gone from memory."""
    prepare(config, state)
    build_wanted(state, config.serving)


def check(config: Config) -> None:
    """Raise what `prepare` would raise for these weights and words; takes seconds."""
    base, vocabulary = _parts(config)
    words = [word for string in vocabulary.strings for word in string.split(", ")]
    templates = vocabulary.templates_for(base.templates)
    texts = [template.format(word) for template in templates for word in words]
    token_ids(base.network, texts, base.known)


@torch.no_grad()
def base_inputs(
    base: BaseModel, vocabulary: Vocabulary, blocks: int, cache: TextCache | None = None
) -> Arrays:
    """Every engine input but the frame, for the unadapted base."""
    embed = cache.embed if cache else embed_strings
    templates = vocabulary.templates_for(base.templates)
    text = embed(base.network, vocabulary.strings, templates, base.known)
    weights = merged_projections(base.network, blocks)
    inputs: Arrays = {
        "text": text.numpy(), "string_to_class": vocabulary.string_to_class(), "colour": UNCHANGED,
    }  # fmt: skip
    return inputs | {name: value.numpy() for name, value in weights.items()}


def write_base_bundle(
    state: Path, base: BaseModel, vocabulary: Vocabulary, inputs: Arrays,
    probes: list[NDArray[np.uint8]], name: str = BASE,
) -> None:  # fmt: skip
    """The base, served like any adapter, so that a rollback to it is a swap like any other."""
    engine = open_engine(state / "engine", name="onnxruntime-cpu")
    manifest: dict[str, Any] = {
        "id": name, "parent": None, "sequence": 0, "created": time.time(), "kind": "base",
        "base_digest": base.digest, "vocabulary_digest": vocabulary.digest, "training": {},
        "verdict": {}, "condition": None,
    }  # fmt: skip
    frames = np.stack(probes)
    bundle = Bundle(name, manifest, inputs, frames, np.empty(0, np.uint8))
    labels = np.stack([engine.infer(frame, bundle).labels for frame in probes])
    folder = state / "adapters" / name
    shutil.rmtree(folder, ignore_errors=True)
    write_bundle(folder, manifest, inputs, frames, labels)


def _parts(config: Config) -> tuple[BaseModel, Vocabulary]:
    """Warns of words that the base never learned: a demonstration may serve them all the same."""
    base, vocabulary = load_base(config.model.weights), load_served(config.model.vocabulary)
    if told := strangers(base, vocabulary):
        say(f"warning: {told}")
    return base, vocabulary


def meanings(vocabulary: Vocabulary) -> NDArray[np.uint8]:
    """Lookup (256,) from the world's labels to class indices, UNKNOWN where none is meant.

    By the labels that a class claims, or by its name and its words where none claims any.
    """
    table = vocabulary.from_source()
    if (table == UNKNOWN).all():
        for index, one in enumerate(vocabulary.classes):
            same = [i for i, name in enumerate(SOURCE_NAMES) if name in (one.name, *one.concepts)]
            table[same] = index
    return table


def export_to(
    base: BaseModel, config: Config, folder: Path, inputs: Arrays,
    probes: list[NDArray[np.uint8]], truth: NDArray[np.uint8] | None = None,
) -> None:  # fmt: skip
    """Put an engine for so many strings as `inputs` has into `folder`, whole or not at all."""
    temporary = fresh_folder(folder.with_name(folder.name + ".tmp"))
    text, owner = (torch.from_numpy(inputs[name]) for name in ("text", "string_to_class"))
    serving, blocks = config.serving, config.adapt.blocks
    info = export_engine(
        base, temporary, serving.size, text, owner, blocks, probes, serving.batch,
        serving.sliding, truth,
    )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    commit_folder(temporary, folder)
    parity = info["parity"]
    say(
        f"engine written; against torch: outputs within {parity['max_abs']:.1e}, "
        f"labels agree on {100 * parity['label_agreement']:.2f} % of pixels"
    )


def _engine_fits(folder: Path, base: BaseModel, inputs: Arrays, wanted: ServingConfig) -> bool:
    try:
        info = open_engine(folder, name="onnxruntime-cpu").info
    except EngineError:
        return False
    made_for = (info.base_digest, info.size, info.batch, info.sliding)
    fits = made_for == (base.digest, wanted.size, wanted.batch, wanted.sliding)
    fits = fits and has_reference(folder)
    return fits and info.inputs.keys() == inputs.keys() and info.takes(len(inputs["text"]))


def _bundle_fits(folder: Path, engine: EngineInfo, vocabulary: Vocabulary) -> bool:
    try:
        bundle = load_bundle(folder, engine)
    except BundleError:
        return False
    words = bundle.manifest.get("vocabulary_digest")
    return words == vocabulary.digest and bundle.probe_frames.shape[1:3] == engine.size


def main(arguments: list[str] | None = None) -> int:
    """Process entry; see the module."""
    parser = argparse.ArgumentParser(description="Export the engine and the base bundle.")
    parser.add_argument("--config", type=Path, required=True, help="resolved configuration, JSON")
    job = parser.add_mutually_exclusive_group(required=True)
    job.add_argument("--state", type=Path, help="state folder")
    job.add_argument("--check", action="store_true", help="say what is wrong and write nothing")
    options = parser.parse_args(arguments)
    die_with_parent()

    def work() -> None:
        config = parse_config(json.loads(options.config.read_text()))
        check(config) if options.check else make(config, options.state)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
