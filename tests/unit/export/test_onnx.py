"""The default's engine: its record is of its file, wrong weights are seen, rot is made good."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest
import torch

from acclimate.configs.schema import Config
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.errors import ParityError
from acclimate.export import onnx
from acclimate.export.main import base_inputs, prepare
from acclimate.model.load import BaseModel, load_base
from acclimate.model.projections import projection_names
from acclimate.runtime.bundle import load_bundle
from acclimate.runtime.engines import open_engine
from acclimate.runtime.swap import probe_check
from acclimate.world import Drive

SIZE, BLOCKS = Config().serving.size, Config().adapt.blocks


def info_of(state: Path) -> dict[str, Any]:
    """engine.json."""
    content: dict[str, Any] = json.loads((state / "engine" / "engine.json").read_text())
    return content


@pytest.fixture
def written_before(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exporting takes the engine file that is there already: only the checks are new."""

    def copy(graph: object, arguments: object, path: Path, *_: object) -> None:
        shutil.copy(prepared / "engine" / "model.onnx", path)

    monkeypatch.setattr(onnx, "_write_onnx", copy)


def export(base: BaseModel, out: Path) -> dict[str, Any]:
    """`export_engine` with one probe frame."""
    inputs = base_inputs(base, load_vocabulary("world"), BLOCKS)
    text, owner = (torch.from_numpy(inputs[name]) for name in ("text", "string_to_class"))
    probes = [Drive(9).frame(12)[0]]
    return onnx.export_engine(base, out, SIZE, text, owner, BLOCKS, probes)


def test_parity_is_recorded_and_within_tolerance(prepared: Path) -> None:
    parity = info_of(prepared)["parity"]
    assert parity["tolerance"] == onnx.TOLERANCE
    assert 0 < parity["max_abs"] <= parity["tolerance"]
    assert onnx.AGREEMENT <= parity["label_agreement"] <= 1


def test_the_record_is_of_this_file_and_this_base(prepared: Path) -> None:
    info, base = info_of(prepared), load_base()
    content = (prepared / "engine" / "model.onnx").read_bytes()
    assert info["onnx_sha256"] == hashlib.sha256(content).hexdigest()
    assert (info["base_digest"], info["templates"]) == (base.digest, list(base.templates))
    assert info["size"] == list(SIZE)


def test_the_table_is_what_the_graph_takes(prepared: Path) -> None:
    table = info_of(prepared)["inputs"]
    path = prepared / "engine" / "model.onnx"
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    taken = {
        node.name: [n if isinstance(n, int) else -1 for n in node.shape]
        for node in session.get_inputs()
    }
    assert taken.pop("frame") == [1, *SIZE, 3]
    assert {name: shape for name, (shape, _) in table.items()} == taken
    assert {kind for _, kind in table.values()} == {"float32"}
    expected = ["text", "string_to_class", "colour", *projection_names(BLOCKS)]
    assert list(table) == expected
    assert [node.name for node in session.get_outputs()] == list(onnx.OUTPUTS)


@pytest.mark.usefixtures("written_before")
def test_an_equal_graph_is_recorded(tmp_path: Path) -> None:
    info = export(load_base(), tmp_path / "engine")
    assert info == info_of(tmp_path)
    assert info["parity"]["max_abs"] <= onnx.TOLERANCE


@pytest.mark.usefixtures("written_before")
def test_tampered_weights_are_not_recorded(tmp_path: Path) -> None:
    base = load_base()
    base.network.aggregator.head.weight.mul_(1.05)
    with pytest.raises(ParityError) as caught:
        export(base, tmp_path / "engine")
    assert caught.value.max_abs > caught.value.tolerance == onnx.TOLERANCE
    assert not (tmp_path / "engine" / "engine.json").exists()


@pytest.mark.usefixtures("written_before")
def test_the_tolerance_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "TOLERANCE", 1e-12)
    with pytest.raises(ParityError, match=r"allowed 1e-12"):
        export(load_base(), tmp_path / "engine")
    assert not (tmp_path / "engine" / "engine.json").exists()


def test_the_second_time_nothing_is_done(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (state, *state.rglob("*"))}

    before = times()
    prepare(Config(), state)
    assert times() == before
    assert capsys.readouterr().err == ""


def test_one_flipped_byte_and_the_engine_is_exported_again(state: Path) -> None:
    path = state / "engine" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    prepare(Config(), state)
    assert path.read_bytes() != bytes(content)
    assert not (state / "engine.tmp").exists()
    engine = open_engine(state / "engine", name="onnxruntime-cpu")
    probe_check(engine, load_bundle(state / "adapters" / "base", engine.info))
