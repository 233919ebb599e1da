"""Engines into the cache: built where something differs, kept to their tolerance, or not there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.serving import ServingConfig
from acclimate.errors import EngineLoadError, ExportError, ParityError
from acclimate.export import build as module
from acclimate.export.build import build_wanted, main
from acclimate.export.parity import TOLERANCES
from acclimate.runtime import cache
from acclimate.runtime.choice import key_for
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.engines import open_engine
from acclimate.runtime.found import Found, Gpu, find

LIBRARIES = {"onnxruntime": "1.31.1", "tensorrt_rtx": "1.7.1"}
NO_GPU = Found(None, LIBRARIES)
ORIN = Gpu("Orin", (8, 7), 7620, "R36 REVISION: 4.0")
INT8 = ServingConfig(engine="onnxruntime-cpu", precision="int8")


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU, with the libraries that are installed for the tests."""
    monkeypatch.setattr(module, "find", lambda: NO_GPU)


def folders(state: Path) -> list[Path]:
    return [path for path in (state / "engines").iterdir() if path.is_dir()]


def test_without_a_gpu_nothing_is_built(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_wanted(state, ServingConfig()) is None
    assert not (state / "engines").exists()
    assert capsys.readouterr().err == ""


def test_int8_is_built_once_and_serves(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = build_wanted(state, INT8)
    assert entry is not None
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith("engines has no onnxruntime-cpu engine in int8")
    assert said[1].startswith("onnxruntime-cpu in int8 for up to 64 strings: ")
    assert entry.parity is not None
    assert entry.record["tolerances"] == TOLERANCES["int8"]
    assert entry.record["seconds"] > 0
    before = (entry.folder / "engine.json").stat().st_mtime_ns
    again = build_wanted(state, INT8)
    assert again is not None
    assert (again.folder, folders(state)) == (entry.folder, [entry.folder])
    assert (entry.folder / "engine.json").stat().st_mtime_ns == before
    assert capsys.readouterr().err == ""


def test_what_was_built_is_what_the_runtime_opens(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find", find)  # as the runtime looks
    with pytest.raises(EngineLoadError, match="has no onnxruntime-cpu engine in int8"):
        open_engine(state / "engine", 1, "onnxruntime-cpu", "int8")
    build_wanted(state, INT8)
    assert open_engine(state / "engine", 1, "onnxruntime-cpu", "int8").precision == "int8"


def test_another_graph_or_capacity_is_built_anew(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = build_wanted(state, INT8)
    second = build_wanted(
        state, ServingConfig(engine="onnxruntime-cpu", precision="int8", capacity=32)
    )
    assert first is not None
    assert second is not None
    assert first.folder != second.folder
    assert "does not fit: its capacity is 64, here it is 32" in capsys.readouterr().err


def test_an_engine_outside_its_tolerance_is_not_written(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = build_wanted(state, ServingConfig(engine="onnxruntime-cpu", precision="fp16"))
    assert kept is not None
    monkeypatch.setitem(TOLERANCES, "int8", TOLERANCES["int8"] | {"labels": 1e-6})
    with pytest.raises(ParityError, match=r"int8 engine: labels differs by 0\.\d+, allowed 1e-06"):
        build_wanted(state, INT8)
    assert folders(state) == [kept.folder]
    assert cache.verify(kept.folder).parity == kept.parity
    arguments = ["--state", str(state), "--engine", "onnxruntime-cpu", "--precision", "int8"]
    assert main(arguments) == 1
    assert "export failed: int8 engine: labels differs by" in capsys.readouterr().err


def test_ahead_of_time_it_is_built_but_not_served(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--state", str(state), "--engine", "tensorrt-rtx", "--json"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert (record["parity"], record["key"]["precision"]) == (None, "fp16")
    assert (record["key"]["device"], record["key"]["capacity"]) == ("any", 64)
    assert "Building engine: 100 %" in err
    assert "run `acclimate engines verify` on the machine that is to serve" in err
    (folder,) = folders(state)
    assert sorted(path.name for path in folder.iterdir()) == ["engine.json", "engine.plan"]
    assert str(folder) == record["folder"]


@pytest.mark.parametrize(
    ("engine", "precision", "libraries", "told"),
    [
        ("tensorrt-rtx", "fp32", {}, r"tensorrt_rtx is not installed; pip install 'acclimate\[ten"),
        ("tensorrt-rtx", "int8", LIBRARIES, "int8 is made for onnxruntime-cpu only"),
        ("onnxruntime-cpu", "bf16", {}, "does not compute in bf16: use fp32 or int8"),
        ("auto", "bf16", {}, "does not compute in bf16: use fp32 or int8"),
        ("tensorrt", "auto", {}, "no CUDA device is usable here"),
    ],
)
def test_what_cannot_be_built_is_told(
    state: Path, monkeypatch: pytest.MonkeyPatch, engine: Any, precision: Any,
    libraries: dict[str, str], told: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "find", lambda: Found(None, libraries))
    with pytest.raises((ExportError, EngineLoadError), match=told):
        build_wanted(state, ServingConfig(engine=engine, precision=precision))
    assert not (state / "engines").exists()


def test_auto_goes_on_to_what_can_be_built(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A TensorRT that is installed and does not load must not keep a machine from serving."""
    torn = LIBRARIES | {"tensorrt": "10.3", "cuda.bindings": "12.8"}
    monkeypatch.setattr(module, "find", lambda: Found(ORIN, torn))
    assert build_wanted(state, ServingConfig()) is None  # ONNX Runtime on the processor
    said = capsys.readouterr().err
    assert "tensorrt in fp16: tensorrt does not load" in said
    assert "trying the next one" in said
    assert folders(state) == []


def test_a_capacity_below_what_it_must_take_is_told(state: Path) -> None:
    small = ServingConfig(engine="tensorrt-rtx", capacity=15)
    with pytest.raises(
        ExportError, match=r"the vocabulary has 16 strings, serving\.capacity is 15"
    ):
        build_wanted(state, small)
    (state / "adapters" / "base" / "inputs.safetensors").unlink()
    with pytest.raises(ExportError, match="the graph's reference has 16 strings"):
        build_wanted(state, small)


def test_an_altered_graph_is_not_built_from(state: Path) -> None:
    path = state / "engine" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(EngineLoadError, match=r"model\.onnx is missing or was altered; `acclimate"):
        build_wanted(state, INT8)


def test_a_full_disk_loses_nothing(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = build_wanted(state, ServingConfig(engine="onnxruntime-cpu", precision="fp16"))
    assert kept is not None

    def full(graph: Path, out: Path, precision: str) -> None:
        out.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "convert", full)
    with pytest.raises(ExportError, match="No space left on device; nothing is lost"):
        build_wanted(state, INT8)
    assert folders(state) == [kept.folder]


def test_a_key_on_a_gpu_names_card_and_driver(state: Path) -> None:
    """Another card or driver is another key, and so another engine (see test_cache.py)."""
    info = EngineInfo.load(state / "engine")
    choice = module.Choice("tensorrt", "fp16", "")
    libraries = LIBRARIES | {"tensorrt": "10.3"}
    one = key_for(info, choice, 64, Found(ORIN, libraries))
    other = key_for(info, choice, 64, Found(Gpu("L4", (8, 9), 23034, "550.1"), libraries))
    assert {name for name, *_ in cache.differences(one, other)} == {"device", "driver"}


def test_building_needs_no_torch(state: Path) -> None:
    """From a copied graph, where only the runtime and ONNX are installed."""
    code = (
        "import sys\nsys.modules.update(dict.fromkeys(['torch', 'peft', 'open_clip']))\n"
        "from acclimate.export.build import main\nsys.exit(main(sys.argv[1:]))"
    )
    copy = Path(shutil.copytree(state, state.with_name("copy")))
    options = ["--state", str(copy), "--engine", "onnxruntime-cpu", "--precision", "int8"]
    subprocess.run([sys.executable, "-c", code, *options], check=True, capture_output=True)
    assert len(folders(copy)) == 1
