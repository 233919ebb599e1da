"""Other words for an adapter: nothing but its texts is new, and those are its own text tower's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from acclimate.adapt.lora import lora_tensors, network_of, new_adapter, save_adapter
from acclimate.configs.schema import Config, to_dict
from acclimate.configs.vocabulary import Vocabulary, load_vocabulary, parse_classes
from acclimate.errors import ConfigError, CorruptBundle
from acclimate.export import words as module
from acclimate.export.words import adapted, embed, main
from acclimate.model.colour import UNCHANGED
from acclimate.model.load import load_base
from acclimate.model.projections import merged_projections
from acclimate.model.text import embed_strings
from acclimate.runtime.bundle import Bundle, load_bundle, write_bundle
from acclimate.runtime.engine import Engine, EngineInfo
from acclimate.runtime.engines import open_engine
from acclimate.runtime.job import Job, Place, place_of
from acclimate.runtime.swap import probe_check

WORDS = parse_classes("road,green=tree|bush,car")


def opened(place: Place) -> tuple[Engine, Bundle]:
    engine = open_engine(place.engine, 1, "onnxruntime-cpu")
    return engine, load_bundle(place.bundle, engine.info)


def with_adapter(state: Path, words: Vocabulary) -> None:
    """state/adapters/a1: random LoRA on both towers, with the texts of `words`."""
    base = load_base()
    model = new_adapter(base.network, 2, 2.0, 2)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in lora_tensors(model).values():
            tensor.copy_(0.05 * torch.randn(tensor.shape, generator=generator))
        text = embed_strings(network_of(model), words.strings, base.templates, base.known)
        inputs = {k: v.numpy() for k, v in merged_projections(network_of(model), 4).items()}
    inputs |= {"text": text.numpy(), "string_to_class": words.string_to_class()}
    inputs["colour"] = UNCHANGED
    save_adapter(model, state / "lora")
    engine = open_engine(state / "engine", 1, "onnxruntime-cpu")
    own = load_bundle(state / "adapters" / "base", engine.info)
    manifest = {"id": "a1", "base_digest": base.digest, "vocabulary_digest": words.digest}
    bundle = Bundle("a1", manifest, inputs, own.probe_frames, own.probe_labels)
    labels = np.stack([engine.infer(frame, bundle).labels for frame in own.probe_frames])
    write_bundle(
        state / "adapters" / "a1", manifest, inputs, own.probe_frames, labels, state / "lora"
    )


def test_the_bases_words_are_those_of_its_text_tower(state: Path) -> None:
    place = embed(Config(), state, "base", WORDS)
    engine, bundle = opened(place)
    own = load_bundle(state / "adapters" / "base", engine.info)
    base = load_base()
    expected = embed_strings(base.network, WORDS.strings, base.templates, base.known)
    np.testing.assert_allclose(bundle.inputs["text"], expected.numpy(), atol=1e-6)
    assert bundle.inputs["string_to_class"].tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    for name in own.inputs.keys() - {"text", "string_to_class"}:
        np.testing.assert_array_equal(bundle.inputs[name], own.inputs[name])
    assert place.engine == state / "engine"
    probe_check(engine, bundle)


def test_an_adapters_words_are_those_of_its_own_text_tower(state: Path) -> None:
    """Made with WORDS; embedded for other words and for WORDS again, it comes to the same."""
    with_adapter(state, WORDS)
    info = EngineInfo.load(state / "engine")
    own = load_bundle(state / "adapters" / "a1", info)
    path = state / "adapters" / "a1" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocabulary_digest": "others"}))
    again = opened(embed(Config(), state, "a1", WORDS))[1]
    for name, value in own.inputs.items():
        np.testing.assert_allclose(again.inputs[name], value, atol=1e-5)
    plain = opened(embed(Config(), state, "base", WORDS))[1]
    assert np.abs(plain.inputs["text"] - again.inputs["text"]).max() > 1e-3


def test_what_is_there_is_left_alone(state: Path) -> None:
    bundle = embed(Config(), state, "base", WORDS).bundle
    before = (bundle / "manifest.json").stat().st_mtime_ns
    assert embed(Config(), state, "base", WORDS).ready
    assert (bundle / "manifest.json").stat().st_mtime_ns == before


def test_more_strings_than_the_engine_takes_get_an_engine_of_their_own(state: Path) -> None:
    """Past pad_len (64 here) the network selects: another graph; words it never saw are ties."""
    words = parse_classes(",".join(f"thing {i}" for i in range(70)))
    place = embed(Config(), state, "base", words)
    engine, bundle = opened(place)
    assert place.engine == place.bundle.parent / "engine"
    assert (engine.info.strings[0], bundle.classes) == (65, 70)
    assert open_engine(state / "engine", 1, "onnxruntime-cpu").info.strings == (2, 64)
    probe_check(engine, bundle)


def test_more_classes_than_a_byte_are_refused(state: Path) -> None:
    words = parse_classes(",".join(f"thing {i}" for i in range(256)))
    with pytest.raises(ConfigError, match="256 classes"):
        embed(Config(), state, "base", words)


def test_more_strings_than_an_engine_can_take_are_refused(state: Path) -> None:
    concepts = ["|".join(f"word {i} {j}" for j in range(17)) for i in range(241)]
    words = parse_classes(",".join(concepts))
    with pytest.raises(ConfigError, match=r"4097 strings; .* at most 4096"):
        embed(Config(), state, "base", words)


def test_a_rotten_adapter_is_named(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(CorruptBundle, match=str(tmp_path)):
        adapted(load_base().network, tmp_path)


def test_the_process_embeds_both_variants(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(to_dict(Config())))
    arguments = ["--config", str(config), "--state", str(state), "--job"]
    assert main([*arguments, Job("evaluate", vocabulary="camvid", concepts="both").dumps()]) == 0
    assert place_of(state, "base", load_vocabulary("camvid")).ready
    assert len([p for p in (state / "words").iterdir() if p.is_dir()]) == 2
    long = " ".join(["very"] * 80)
    assert main([*arguments, Job("segment", classes=f"road,{long} car").dumps()]) == 78
    assert main([*arguments, Job("segment", classes="road,sky", adapter="a9").dumps()]) == 0
    capsys.readouterr()


def test_the_oldest_words_are_forgotten(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 2)
    vocabularies = [parse_classes(f"road,{name}") for name in ("sky", "car", "tree")]
    for number, words in enumerate(vocabularies):
        folder = embed(Config(), state, "base", words).bundle.parent
        os.utime(folder, (number, number))
    ready = [place_of(state, "base", words).ready for words in vocabularies]
    assert ready == [False, True, True]


# ---- for the daemon


def test_a_copy_brings_its_lora_so_that_a_round_may_start_from_it(state: Path) -> None:
    with_adapter(state, WORDS)
    place = embed(Config(), state, "a1", parse_classes("road,sky"))
    own = state / "adapters" / "a1" / "adapter" / "adapter_model.safetensors"
    copy = place.bundle / "adapter" / "adapter_model.safetensors"
    assert copy.read_bytes() == own.read_bytes()
    manifest = json.loads((place.bundle / "manifest.json").read_text())
    assert "adapter/adapter_model.safetensors" in manifest["files"]
    assert not (embed(Config(), state, "base", WORDS).bundle / "adapter").exists()


def to_serve(
    state: Path, capsys: pytest.CaptureFixture[str], classes: str, *adapters: str
) -> tuple[int, list[dict[str, str]]]:
    """As the daemon asks: exit code and JSON lines."""
    config = state.parent / "config.json"
    config.write_text(json.dumps(to_dict(Config())))
    job = Job("segment", classes=classes).dumps()
    arguments = ["--config", str(config), "--state", str(state), "--job", job]
    code = main([*arguments, "--to-serve", *adapters])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_several_adapters_get_the_words_and_the_daemon_hears_of_it(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_adapter(state, WORDS)
    code, said = to_serve(state, capsys, "road,sky", "a1", "base")
    assert code == 0
    assert said == [
        {"event": "progress", "message": f"embedding 2 classes (2 strings) for {name}, {i} of 2"}
        for i, name in ((1, "a1"), (2, "base"))
    ]
    assert all(place_of(state, n, parse_classes("road,sky")).ready for n in ("a1", "base"))


def test_words_that_were_never_learned_do_not_serve(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default's text tower holds 56 tokens; a stranger's row is untrained."""
    code, said = to_serve(state, capsys, "road,forklift,green=tree|gantry crane", "base")
    assert (code, [line["event"] for line in said]) == (78, ["error"])
    message = said[0]["message"]
    assert message.startswith("the base's text tower never learned 'forklift', 'gantry crane': ")
    assert not place_of(state, "base", parse_classes("road,forklift,green=tree|gantry crane")).ready
    many = ",".join(f"thing {i}" for i in range(20))
    assert "'thing 7' and 12 more: " in to_serve(state, capsys, many, "base")[1][0]["message"]


def test_an_adapter_that_rotted_is_told_as_an_error(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_adapter(state, WORDS)
    (state / "adapters" / "a1" / "inputs.safetensors").write_bytes(b"x")
    code, said = to_serve(state, capsys, "road,sky", "a1")
    assert (code, said[-1]["event"], "inputs.safetensors" in said[-1]["message"]) == (
        1, "error", True,
    )  # fmt: skip


def test_the_words_that_serve_are_never_forgotten(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 1)
    served, *others = [parse_classes(f"road,{name}") for name in ("sky", "car", "tree")]
    (state / "state.json").write_text(json.dumps({"words": {"digest": served.digest}}))
    for number, words in enumerate((served, *others)):
        folder = embed(Config(), state, "base", words).bundle.parent
        os.utime(folder, (number, number))
    ready = [place_of(state, "base", words).ready for words in (served, *others)]
    assert ready == [True, False, True]
