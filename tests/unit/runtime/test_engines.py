"""Opening an engine: the file that fits, parity before serving, another one where `auto` may."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acclimate.errors import EngineError, EngineLoadError
from acclimate.runtime import cache, engines
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.choice import Choice, key_for
from acclimate.runtime.engine import Engine, EngineInfo
from acclimate.runtime.engines import open_engine, open_entry
from acclimate.runtime.found import Found, Gpu, find

CARD = Gpu("NVIDIA GeForce RTX 4090", (8, 9), 24564, "580.65.06")
LIBRARIES = {"tensorrt_rtx": "1.7", "cuda.bindings": "13.5", "onnxruntime": "1.31"}
RTX = Found(CARD, LIBRARIES)
PARITY = {"max_abs": 0.01}


@pytest.fixture
def graph(state: Path) -> Path:
    return state / "engine"


def entry(
    graph: Path, choice: Choice, found: Found, parity: dict[str, float] | None, content: bytes
) -> Path:
    """A built engine in the cache."""
    key = key_for(EngineInfo.load(graph), choice, 256, found)
    name = cache.ONNX if choice.engine.startswith("onnx") else cache.PLAN

    def build(folder: Path) -> dict[str, Any]:
        (folder / name).write_bytes(content)
        return {"parity": parity, "seconds": 1.0}

    return cache.write(graph, key, build)


def serves(engine: Engine, state: Path) -> Bundle:
    bundle = load_bundle(state / "adapters" / "base", engine.info)
    engine.infer(np.zeros((*engine.info.size, 3), np.uint8), bundle)
    return bundle


def test_another_precision_is_served_from_the_cache(graph: Path) -> None:
    model = (graph / "model.onnx").read_bytes()
    entry(graph, Choice("onnxruntime-cpu", "int8", ""), find(), PARITY, model)
    engine = open_engine(graph, 1, "onnxruntime-cpu", "int8")
    assert (engine.name, engine.precision) == ("onnxruntime-cpu", "int8")
    serves(engine, graph.parent)


def test_what_was_never_measured_does_not_serve_but_can_be_measured(graph: Path) -> None:
    model = (graph / "model.onnx").read_bytes()
    folder = entry(graph, Choice("onnxruntime-cpu", "int8", ""), find(), None, model)
    with pytest.raises(EngineLoadError, match=r"never held against.*engines verify"):
        open_engine(graph, 1, "onnxruntime-cpu", "int8")
    serves(open_entry(graph, cache.read(folder), 1), graph.parent)


def test_a_precision_that_was_not_built_names_the_command(graph: Path) -> None:
    with pytest.raises(EngineLoadError, match=r"acclimate export --engine onnxruntime-cpu"):
        open_engine(graph, 1, "onnxruntime-cpu", "int8")


def gpu(monkeypatch: pytest.MonkeyPatch, found: Found) -> None:
    monkeypatch.setattr(engines, "find", lambda: found)


def test_auto_goes_on_to_the_processor_and_says_why(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu(monkeypatch, RTX)
    engine = open_engine(graph, 1)
    assert (engine.name, engine.precision) == ("onnxruntime-cpu", "fp32")
    assert "tensorrt-rtx in fp16 does not serve" in engine.reason
    assert "acclimate export --engine tensorrt-rtx" in engine.reason
    serves(engine, graph.parent)


def test_by_its_name_it_does_not_go_on(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, RTX)
    with pytest.raises(EngineLoadError, match="has no tensorrt-rtx engine in fp16"):
        open_engine(graph, 1, "tensorrt-rtx")


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (Gpu("NVIDIA H100", (8, 9), 1, "580.65.06"), "device"),
        (replace(CARD, driver="590.1"), "driver"),
    ],
)
def test_an_engine_of_another_card_or_driver_names_the_difference(
    graph: Path, monkeypatch: pytest.MonkeyPatch, other: Gpu, field: str
) -> None:
    entry(graph, Choice("tensorrt-rtx", "fp16", ""), replace(RTX, gpu=other), PARITY, b"plan")
    gpu(monkeypatch, RTX)
    with pytest.raises(EngineLoadError, match=rf"its {field} is .*acclimate export"):
        open_engine(graph, 1, "tensorrt-rtx")


def test_an_altered_plan_is_named(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = entry(graph, Choice("tensorrt-rtx", "fp16", ""), RTX, PARITY, b"a whole plan")
    (folder / cache.PLAN).write_bytes(b"a whole pl")
    gpu(monkeypatch, RTX)
    with pytest.raises(EngineLoadError, match=r"engine\.plan is missing or was altered"):
        open_engine(graph, 1, "tensorrt-rtx")


def test_one_built_ahead_of_time_is_found_but_must_be_measured_first(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = replace(RTX, gpu=None)
    entry(graph, Choice("tensorrt-rtx", "fp16", ""), ahead, None, b"plan")
    gpu(monkeypatch, RTX)
    with pytest.raises(EngineLoadError, match="engines verify"):
        open_engine(graph, 1, "tensorrt-rtx")


def test_cuda_that_would_run_on_the_processor_is_refused(
    graph: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The provider is compiled in; its libraries or its GPU are not there."""
    if find().gpu is not None:
        pytest.skip("there is a GPU here")
    libraries = {"onnxruntime": "1.31"}
    providers = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
    gpu(monkeypatch, Found(CARD, libraries, providers))
    with pytest.raises(EngineLoadError, match=r"CUDAExecutionProvider.*use auto"):
        open_engine(graph, 1, "onnxruntime-cuda", "fp32")
    engine = open_engine(graph, 1)
    assert engine.name == "onnxruntime-cpu" and "onnxruntime-cuda in fp32" in engine.reason
    assert capsys.readouterr().out == "", "stdout is where the daemon listens"


def test_one_that_fails_at_its_first_frame_has_not_loaded(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    providers = ("CUDAExecutionProvider", "CPUExecutionProvider")
    gpu(monkeypatch, Found(CARD, {"onnxruntime": "1.31"}, providers))
    monkeypatch.setattr(engines, "providers_for", lambda *_: [("CPUExecutionProvider", {})])
    tried = []

    def prove(engine: Engine) -> None:
        tried.append(engine.name)
        if engine.name != "onnxruntime-cpu":
            raise EngineError("out of memory")

    engine = open_engine(graph, 1, prove=prove)
    assert tried == ["onnxruntime-cuda", "onnxruntime-cpu"]
    assert "onnxruntime-cuda in fp32 does not serve: out of memory" in engine.reason


def test_a_built_engine_takes_no_more_strings_than_its_capacity(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen at the provider's profile, which is what the capacity is for."""
    libraries = {"onnxruntime": "1.31", "tensorrt": "10.13"}
    providers = ("TensorrtExecutionProvider", "CPUExecutionProvider")
    gpu(monkeypatch, Found(CARD, libraries, providers))
    monkeypatch.setattr(engines, "providers_for", lambda *_: [("CPUExecutionProvider", {})])
    assert open_engine(graph, 1, "onnxruntime-tensorrt", "fp32", 40).info.strings == (2, 40)
    assert open_engine(graph, 1, "onnxruntime-cpu", "fp32", 40).info.strings[1] > 40
    with pytest.raises(EngineLoadError, match=r"serving\.capacity is 1"):
        open_engine(graph, 1, "onnxruntime-tensorrt", "fp32", 1)


def test_a_description_without_its_graph_is_told(tmp_path: Path, graph: Path) -> None:
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copy(graph / "engine.json", folder)
    with pytest.raises(EngineLoadError, match=r"model\.onnx is missing"):
        open_engine(folder, 1)
