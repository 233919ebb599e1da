"""Other words for an adapter that is there: its projections stay, its texts are embedded anew.

    python -m acclimate.export.words --config resolved.json --state DIR --job JSON
    python -m acclimate.export.words ... --to-serve base a0003

Leaves DIR/words/<vocabulary>/<adapter>, and an engine beside it if the prepared one cannot take
that many strings. Does nothing for words that are there already; the newest 16 and those that
serve are kept. With --to-serve, for the daemon, it refuses words that the base's text tower never
learned, and speaks JSON lines on stdout: progress, error.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from safetensors import SafetensorError

from acclimate.configs.schema import Config, parse_config
from acclimate.configs.vocabulary import Vocabulary, check_served
from acclimate.errors import CorruptBundle, EngineError
from acclimate.export.learned import check_learned
from acclimate.export.main import export_to
from acclimate.export.process import exit_code, say
from acclimate.model.catseg import CATSeg
from acclimate.model.load import BaseModel, load_base
from acclimate.model.text import TextCache
from acclimate.runtime.bundle import ADAPTER, Arrays, Bundle, load_bundle, write_bundle
from acclimate.runtime.durable import remove_folder, sync
from acclimate.runtime.engine import Engine, EngineInfo
from acclimate.runtime.engines import open_engine
from acclimate.runtime.job import Place, origin, place_of, read_job, spared, vocabularies
from acclimate.runtime.parent import die_with_parent

MOST_KEPT = 16


def embed(config: Config, state: Path, adapter: str, words: Vocabulary) -> Place:
    """Make `place_of(state, adapter, words)` ready; raises AcclimateError kinds."""
    check_served(words, "the vocabulary")
    with _alone(state / "words"):
        place = place_of(state, adapter, words)
        if not place.ready:
            say(f"embedding {len(words.strings)} strings of {len(words.classes)} classes ...")
            source = load_bundle(state / "adapters" / adapter, EngineInfo.load(state / "engine"))
            base = load_base(config.model.weights)
            lora, cache = state / "adapters" / adapter / ADAPTER, TextCache(state / "text")
            inputs = with_words(base, source, lora, words, cache)
            engine = _engine(config, state, place.bundle.parent, base, inputs, source)
            _write(place.bundle, engine, source, inputs, words, lora if lora.is_dir() else None)
            _forget_oldest(state / "words", spared(state))
    return place_of(state, adapter, words)


@torch.no_grad()
def with_words(
    base: BaseModel, source: Bundle, lora: Path, words: Vocabulary, cache: TextCache
) -> Arrays:
    """The inputs of `source`, its texts replaced; `lora` is its PEFT folder, if it has one."""
    network = adapted(base.network, lora) if lora.is_dir() else base.network
    templates = words.templates_for(base.templates)
    text = cache.embed(network, words.strings, templates, base.known)
    owner = words.string_to_class()
    return source.inputs | {"text": text.numpy(), "string_to_class": owner}


def adapted(network: CATSeg, folder: Path) -> CATSeg:
    """`network` with a stored PEFT adapter merged in; raises CorruptBundle."""
    try:
        model = PeftModel.from_pretrained(network, str(folder))
    except (OSError, SafetensorError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise CorruptBundle(f"adapter {folder} does not load: {error}") from error
    merged = model.merge_and_unload()
    assert isinstance(merged, CATSeg)
    return merged


def _engine(
    config: Config, state: Path, folder: Path, base: BaseModel, inputs: Arrays, source: Bundle
) -> Engine:
    """The prepared engine, or one made for so many strings (past `pad_len` the graph differs)."""
    strings = len(inputs["text"])
    for place in (state / "engine", folder / "engine"):
        try:
            engine = open_engine(place, config.serving.threads, "onnxruntime-cpu")
        except EngineError:
            continue
        same = engine.info.base_digest == base.digest
        if same and engine.info.size == config.serving.size and engine.info.takes(strings):
            return engine
    say(f"{strings} strings need an engine of their own: exporting it ...")
    export_to(base, config, folder / "engine", inputs, list(source.probe_frames))
    return open_engine(folder / "engine", config.serving.threads, "onnxruntime-cpu")


def _write(
    folder: Path, engine: Engine, source: Bundle, inputs: Arrays, words: Vocabulary,
    lora: Path | None,
) -> None:  # fmt: skip
    """The bundle, with what the engine says of the same probe frames with the new words; it has
    its LoRA with it, because rounds may start from it."""
    manifest = source.manifest | {
        "vocabulary_digest": words.digest, "made_from": origin(source.manifest),
        "created": time.time(),
    }  # fmt: skip
    frames = source.probe_frames
    bundle = Bundle(source.id, manifest, inputs, frames, np.empty(0, np.uint8))
    labels = np.stack([engine.infer(frame, bundle).labels for frame in frames])
    shutil.rmtree(folder, ignore_errors=True)
    write_bundle(folder, manifest, inputs, frames, labels, lora)


def _forget_oldest(folder: Path, spared: Path) -> None:
    """Words that were asked for once must not fill the disk."""
    for torn in folder.glob("*.tmp"):
        shutil.rmtree(torn)
    others = [p for p in folder.iterdir() if p.is_dir() and p != spared]
    for old in sorted(others, key=lambda p: p.stat().st_mtime)[:-MOST_KEPT]:
        remove_folder(old)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two jobs on one state folder embed one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        sync(folder)


def _tell(event: str, message: str) -> None:
    message = message.removeprefix("error: ")
    print(json.dumps({"event": event, "message": message}), flush=True)


def embed_to_serve(config: Config, state: Path, adapters: list[str], words: Vocabulary) -> None:
    """`embed` for each of `adapters`, as the daemon wants it; see the module."""
    torch.set_num_threads(config.adapt.threads)
    check_learned(load_base(config.model.weights), words)
    for done, adapter in enumerate(adapters, 1):
        _tell("progress", f"embedding {words.size} for {adapter}, {done} of {len(adapters)}")
        embed(config, state, adapter, words)


def main(arguments: list[str] | None = None) -> int:
    """Process entry; see the module."""
    parser = argparse.ArgumentParser(description="Embed other words for an adapter.")
    parser.add_argument("--config", type=Path, required=True, help="resolved configuration, JSON")
    parser.add_argument("--state", type=Path, required=True, help="state folder")
    parser.add_argument("--job", required=True, help="the job whose words are wanted, JSON")
    parser.add_argument("--to-serve", nargs="+", default=[], metavar="ID", help="adapters")
    options = parser.parse_args(arguments)
    die_with_parent()
    tell = partial(_tell, "error") if options.to_serve else say

    def work() -> None:
        config, job = parse_config(json.loads(options.config.read_text())), read_job(options.job)
        for words in vocabularies(job, config).values():
            if options.to_serve:
                embed_to_serve(config, options.state, options.to_serve, words)
            else:
                embed(config, options.state, job.adapter, words)

    return exit_code(work, tell)


if __name__ == "__main__":
    sys.exit(main())
