"""Preparing a state folder: what does not fit is made anew, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file, save_file

from acclimate.configs.schema import Config, parse_config, to_dict
from acclimate.configs.vocabulary import load_vocabulary, parse_vocabulary
from acclimate.errors import ConfigError
from acclimate.export.main import base_inputs, main, prepare
from acclimate.model.checkpoint import save_official
from acclimate.model.load import build, load_base
from acclimate.runtime.bundle import load_bundle, write_bundle
from acclimate.runtime.durable import sha256
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.engines import open_engine
from acclimate.runtime.swap import probe_check
from tests.unit.export.conftest import Exported
from tests.unit.model.test_load import OFFICIAL_V1

ENGINE, BUNDLE = "engine/engine.json", "adapters/base/manifest.json"
Configure = Callable[..., Config]


@pytest.fixture(scope="session")
def configure(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Configure:
    """Configurations of the tiny base, with five classes of our own."""
    folder = tmp_path_factory.mktemp("words")

    def one(concepts: int = 1, blocks: int = 2, size: tuple[int, int] = (32, 64)) -> Config:
        rows = [{"name": f"thing {i}", "color": [i, 0, 0]} for i in range(5)]
        rows[0]["concepts"] = [f"word {i}" for i in range(concepts)]
        path = folder / f"{concepts}.yaml"
        path.write_text(yaml.safe_dump({"classes": rows}))
        return parse_config({
            "model": {"weights": str(tiny_weights), "vocabulary": str(path)},
            "serving": {"size": list(size)}, "adapt": {"blocks": blocks},
        })  # fmt: skip

    return one


@pytest.fixture(scope="session")
def once(
    exported: Exported, configure: Configure, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A prepared state folder around the tiny engine; don't write to it."""
    state = tmp_path_factory.mktemp("once") / "state"
    shutil.copytree(exported.folder, state / "engine")
    prepare(configure(), state)
    return state


@pytest.fixture
def own(once: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(once, tmp_path / "state"))


@pytest.fixture
def run(tmp_path: Path, own: Path) -> Callable[[Config], int]:
    """The process entry, on `own`."""

    def entry(config: Config) -> int:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(to_dict(config)))
        return main(["--config", str(path), "--state", str(own)])

    return entry


def stamps(state: Path) -> dict[str, int]:
    """When engine and bundle were written."""
    return {name: (state / name).stat().st_mtime_ns for name in (ENGINE, BUNDLE)}


def check(state: Path) -> dict[str, Any]:
    """Engine and base bundle fit each other; the bundle's manifest."""
    engine = open_engine(state / "engine", 1, "onnxruntime-cpu")
    bundle = load_bundle(state / "adapters" / "base", engine.info)
    probe_check(engine, bundle)
    return bundle.manifest


def test_an_engine_that_fits_gets_its_base_bundle(once: Path) -> None:
    manifest = check(once)
    assert (manifest["id"], manifest["kind"], manifest["parent"]) == ("base", "base", None)
    assert sorted(p.name for p in once.iterdir()) == ["adapters", "engine", "text"]
    assert [p.name for p in (once / "adapters").iterdir()] == ["base"]


def test_what_fits_is_left_alone(configure: Configure, own: Path) -> None:
    before = stamps(own)
    prepare(configure(), own)
    assert stamps(own) == before


def test_other_words_are_another_bundle_on_the_same_engine(configure: Configure, own: Path) -> None:
    before, engine = stamps(own), sha256(own / ENGINE)
    prepare(configure(concepts=3), own)
    after = stamps(own)
    assert after[BUNDLE] > before[BUNDLE]
    assert (after[ENGINE], sha256(own / ENGINE)) == (before[ENGINE], engine)
    words = load_vocabulary(configure(concepts=3).model.vocabulary)
    assert check(own)["vocabulary_digest"] == words.digest


@pytest.mark.parametrize("name", ["inputs.safetensors", "probe.safetensors"])
def test_a_rotten_base_bundle_is_written_again(configure: Configure, own: Path, name: str) -> None:
    path = own / "adapters" / "base" / name
    path.write_bytes(path.read_bytes()[:-1])
    prepare(configure(), own)
    check(own)


@pytest.mark.parametrize("change", ["size", "blocks"])
def test_a_base_bundle_of_another_engine_is_written_again(
    configure: Configure, own: Path, change: str
) -> None:
    before, folder = stamps(own), own / "adapters" / "base"
    one = load_bundle(folder, EngineInfo.load(own / "engine"))
    inputs, frames, labels = one.inputs, one.probe_frames, one.probe_labels
    if change == "size":
        frames, labels = frames[:, :-8, :-8], labels[:, :-8, :-8]
    else:
        inputs = {name: value for name, value in inputs.items() if "visual.1." not in name}
    shutil.rmtree(folder)
    write_bundle(folder, one.manifest, inputs, frames, labels)
    prepare(configure(), own)
    assert stamps(own)[ENGINE] == before[ENGINE]
    check(own)


@pytest.mark.parametrize("config", [{"size": (40, 72)}, {"blocks": 1}, {"concepts": 5}], ids=str)
def test_another_size_other_blocks_or_too_many_words_ask_for_another_engine(
    configure: Configure, own: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    class AskedError(Exception):
        pass

    def export(*_: object) -> None:
        raise AskedError

    monkeypatch.setattr("acclimate.export.main.export_engine", export)
    prepare(configure(concepts=4), own)  # 8 strings, as many as the network pads
    with pytest.raises(AskedError):
        prepare(configure(**config), own)
    check(own)


def test_a_failed_export_leaves_the_old_engine(
    configure: Configure, own: Path, run: Callable[[Config], int],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("acclimate.export.main.export_engine", full)
    before = sha256(own / ENGINE)
    assert run(configure(size=(40, 72))) == 1
    assert "export failed: [Errno 28] No space left" in capsys.readouterr().err
    assert sha256(own / ENGINE) == before
    check(own)


def test_missing_weights_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model": {"weights": "no/such/file.safetensors"}}))
    assert main(["--config", str(path), "--state", str(tmp_path / "state")]) == 78
    assert "no/such" in capsys.readouterr().err


def test_v1_is_served_with_its_ten_templates(tmp_path: Path) -> None:
    """From an mmseg file to label maps: parity with torch is checked at the export."""
    network = build(replace(OFFICIAL_V1, vocab_size=49408))
    save_official(network, tmp_path / "v1.pth", "mmseg")
    config = parse_config({
        "model": {"weights": str(tmp_path / "v1.pth"), "vocabulary": "camvid"},
        "serving": {"size": [96, 128]}, "adapt": {"blocks": 1},
    })  # fmt: skip
    (tmp_path / "resolved.json").write_text(json.dumps(to_dict(config)))
    assert main(["--config", str(tmp_path / "resolved.json"), "--state", str(tmp_path)]) == 0
    engine = open_engine(tmp_path / "engine", name="onnxruntime-cpu")
    bundle = load_bundle(tmp_path / "adapters" / "base", engine.info)
    strings = len(load_vocabulary("camvid").strings)
    assert bundle.inputs["text"].shape == (strings, 10, OFFICIAL_V1.embed_dim)
    assert engine.info.strings == (2, 4096)  # no padding, no selection
    labels = engine.infer(bundle.probe_frames[0], bundle).labels
    np.testing.assert_array_equal(labels, bundle.probe_labels[0])


def test_more_blocks_than_the_network_has_are_told(
    configure: Configure, run: Callable[[Config], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(configure(blocks=4)) == 78
    assert "adapt.blocks: 4, but the image tower has 3" in capsys.readouterr().err


def test_a_resolved_configuration_that_is_torn_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    for text, code in (('{"model": ', 1), ("[]", 78)):
        path.write_text(text)
        assert main(["--config", str(path), "--state", str(tmp_path / "state")]) == code
        assert capsys.readouterr().err.startswith(("export failed: ", "error: the configuration"))
    assert not (tmp_path / "state").exists()


def test_a_check_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    assert main(["--config", str(path), "--check"]) == 0
    path.write_text(json.dumps({"model": {"weights": "no/such/file.safetensors"}}))
    assert main(["--config", str(path), "--check"]) == 78
    assert "no/such" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


def test_words_that_were_never_learned_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    warned = "warning: the base's text tower never learned"
    for words, told in (("world", ""), ("cityscapes", warned)):
        path.write_text(json.dumps({"model": {"vocabulary": words}}))
        assert main(["--config", str(path), "--check"]) == 0
        said = capsys.readouterr().err
        assert said.startswith(told)
        assert ("'sidewalk'" in said, "weights" in said) == (bool(told), bool(told))


def test_a_check_sees_that_the_table_of_words_is_gone(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(tiny_weights.with_name("config.json"), tmp_path)
    state = load_file(tiny_weights)
    del state["known_tokens"]
    save_file(state, tmp_path / "bare.safetensors")
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"model": {"weights": str(tmp_path / "bare.safetensors")}}))
    assert main(["--config", str(path), "--check"]) == 78
    assert "needs `known_tokens`" in capsys.readouterr().err


def test_a_vocabularys_template_takes_the_place_of_the_models() -> None:
    base, rows = load_base(), [{"name": "road"}, {"name": "sky"}]
    plain = parse_vocabulary({"classes": rows})
    same = parse_vocabulary({"classes": rows, "templates": list(base.templates)})
    other = parse_vocabulary({"classes": rows, "templates": ["a dark {} at night"]})
    a, b, c = (base_inputs(base, words, 4)["text"] for words in (plain, same, other))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3
    two = parse_vocabulary({"classes": rows, "templates": ["a {}", "the {}"]})
    with pytest.raises(ConfigError, match="has 2 templates, the model takes 1"):
        base_inputs(base, two, 4)


@pytest.mark.parametrize("how", [["--check"], ["--state"]])
def test_words_too_long_end_with_78(
    how: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = " ".join(["supercalifragilisticexpialidocious"] * 8)
    words, path, state = (tmp_path / name for name in ("words.yaml", "c.json", "state"))
    words.write_text(json.dumps({"classes": [{"name": "road"}, {"name": long}]}))
    path.write_text(json.dumps({"model": {"vocabulary": str(words)}}))
    how = [*how, str(state)] if how == ["--state"] else how
    assert main(["--config", str(path), *how]) == 78
    assert "has 81 tokens, at most 77" in capsys.readouterr().err
    assert not state.exists()
