"""The check beside the serving engine: which words a bundle may bring, and what it may see."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from acclimate.configs.vocabulary import Vocabulary, load_vocabulary, parse_classes
from acclimate.errors import SwapRefused
from acclimate.runtime.bundle import Bundle, load_bundle, write_bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.engines import open_engine
from acclimate.runtime.swap import Ready, Refused, Swapper, probe_check
from tests.conftest import wait_until

WORLD, TWO = load_vocabulary("world"), parse_classes("road,sky")


@pytest.fixture
def engine(state: Path) -> Engine:
    return open_engine(state / "engine", 1, "onnxruntime-cpu")


@pytest.fixture
def other(state: Path, engine: Engine) -> Path:
    """The base with two of its strings as a vocabulary of its own."""
    base = load_bundle(state / "adapters" / "base", engine.info)
    inputs = base.inputs | {
        "text": base.inputs["text"][:2], "string_to_class": TWO.string_to_class(),
    }  # fmt: skip
    changed = replace(base, inputs=inputs)
    labels = np.stack([engine.infer(frame, changed).labels for frame in base.probe_frames])
    manifest = base.manifest | {"vocabulary_digest": TWO.digest}
    write_bundle(state / "words" / "two" / "base", manifest, inputs, base.probe_frames, labels)
    return state / "words" / "two" / "base"


def outcome(swapper: Swapper, folder: Path, vocabulary: str | None) -> Ready | Refused:
    assert swapper.request("base", folder, vocabulary) is None
    found: list[Ready | Refused] = []

    def done() -> bool:
        found.extend(filter(None, [swapper.take()]))
        return bool(found)

    wait_until(done, 20, "the check")
    return found[0]


def written(state: Path, words: Vocabulary) -> str:
    path = state / f"{words.key}.yaml"
    path.write_text("classes: [{name: road}, {name: sky}]\n")
    return str(path)


def test_a_bundle_may_bring_the_words_it_was_made_for(
    state: Path, engine: Engine, other: Path
) -> None:
    swapper, file = Swapper(engine, WORLD.digest), written(state, TWO)
    ready = outcome(swapper, other, file)
    assert isinstance(ready, Ready)
    assert (ready.words, ready.vocabulary, ready.bundle.classes) == (TWO, file, 2)
    assert isinstance(outcome(swapper, other, None), Ready), "they are the words of now"
    assert isinstance(outcome(swapper, state / "adapters" / "base", None), Refused)
    back = outcome(swapper, state / "adapters" / "base", "world")
    assert isinstance(back, Ready)
    assert back.words == WORLD


@pytest.mark.parametrize("vocabulary", [None, "world", "cityscapes", "no/such/file.yaml"])
def test_any_others_are_refused(engine: Engine, other: Path, vocabulary: str | None) -> None:
    swapper = Swapper(engine, WORLD.digest)
    refused = outcome(swapper, other, vocabulary)
    assert isinstance(refused, Refused)
    named = "no/such/file.yaml" if vocabulary == "no/such/file.yaml" else "another vocabulary"
    assert named in refused.reason


def made_otherwise(prepared: Path, engine: Engine, share: float) -> Bundle:
    """The base, of whose probe pixels its maker saw a share as another class."""
    base = load_bundle(prepared / "adapters" / "base", engine.info)
    labels = base.probe_labels.copy()
    flat = labels.reshape(-1)[: round(share * labels.size)]
    flat[:] = (flat + 1) % base.classes
    return replace(base, probe_labels=labels)


@pytest.mark.parametrize(
    ("precision", "share", "fits"),
    [
        ("fp32", 0.0005, True), ("fp32", 0.01, False), ("fp16", 0.01, True), ("fp16", 0.03, False),
        ("bf16", 0.01, True), ("int8", 0.03, False),
    ],
)  # fmt: skip
def test_each_precision_has_its_room(
    prepared: Path, engine: Engine, precision: str, share: float, fits: bool
) -> None:
    engine.precision, bundle = precision, made_otherwise(prepared, engine, share)
    if fits:
        probe_check(engine, bundle)
        return
    with pytest.raises(SwapRefused, match=r"labels agree on 9[79]\.\d\d% .* are needed"):
        probe_check(engine, bundle)


def test_a_check_steps_back_for_the_serving_thread(
    state: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def load(*given: object) -> Bundle:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return load_bundle(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("acclimate.runtime.swap.load_bundle", load)
    swapper, mine = Swapper(engine), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert isinstance(outcome(swapper, state / "adapters" / "base", None), Ready)
    assert seen == [10]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine
