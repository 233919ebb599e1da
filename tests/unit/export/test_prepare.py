"""Export: parity is checked, and nothing is done twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from acclimate.configs.schema import Config
from acclimate.configs.vocabulary import load_vocabulary, parse_vocabulary
from acclimate.errors import ConfigError, ParityError
from acclimate.export import onnx
from acclimate.export.main import base_inputs, main, prepare
from acclimate.model.load import load_base
from acclimate.runtime.engine import Engine


def test_parity_is_measured_and_named(prepared: Path) -> None:
    parity = json.loads((prepared / "engine" / "engine.json").read_text())["parity"]
    assert 0 <= parity["max_abs"] < parity["tolerance"]
    assert parity["label_agreement"] > 0.999


def test_what_is_there_is_left_alone(state: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in state.rglob("*") if p.is_file()}
    prepare(Config(), state)
    assert {p: p.stat().st_mtime_ns for p in state.rglob("*") if p.is_file()} == before


def test_a_rotten_engine_is_written_again(state: Path) -> None:
    (state / "engine" / "model.onnx").write_bytes(b"rot")
    prepare(Config(), state)
    assert Engine(state / "engine").info.classes == 14


def test_a_graph_that_differs_is_refused(prepared: Path) -> None:
    base, words = load_base(), load_vocabulary("world")
    inputs = {k: torch.from_numpy(v) for k, v in base_inputs(base, words, 4).items()}
    text, owner = inputs.pop("text"), inputs.pop("string_to_class")
    graph = onnx.ServingGraph(base.network, 4).eval()
    wrong = [value * 1.5 for value in inputs.values()]
    frame = np.full((160, 224, 3), 90, np.uint8)

    class Liar(torch.nn.Module):
        def forward(self, image: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return graph(image, text, owner, *wrong)  # type: ignore[no-any-return]

    with pytest.raises(ParityError, match="differs"):
        path = prepared / "engine" / "model.onnx"
        onnx._parity(Liar(), path, (text, owner, *inputs.values()), [frame])  # type: ignore[arg-type]


def test_missing_weights_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model": {"weights": "no/such/file.safetensors"}}))
    assert main(["--config", str(path), "--state", str(tmp_path / "state")]) == 1
    assert "no/such" in capsys.readouterr().err


def test_a_check_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    assert main(["--config", str(path), "--check"]) == 0
    path.write_text(json.dumps({"model": {"weights": "no/such/file.safetensors"}}))
    assert main(["--config", str(path), "--check"]) == 1
    assert "no/such" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


def test_a_vocabularys_template_takes_the_place_of_the_models() -> None:
    base, rows = load_base(), [{"name": "road"}, {"name": "sky"}]
    plain = parse_vocabulary({"classes": rows})
    same = parse_vocabulary({"classes": rows, "templates": [base.template]})
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
