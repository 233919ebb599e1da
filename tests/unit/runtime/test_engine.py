"""The engine: what it refuses, and that an adapter is nothing but an input."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import acclimate.runtime
from acclimate.errors import EngineError, EngineLoadError
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.durable import sha256
from acclimate.runtime.engine import GRAPH, Engine, EngineInfo
from acclimate.runtime.engines import open_engine
from acclimate.runtime.found import Found

WEIGHT = "visual.0.q_proj.weight"
ALTERED = r"model\.onnx is missing or was altered; export the engine again"


@pytest.fixture(scope="module")
def engine(prepared: Path) -> Engine:
    return open_engine(prepared / "engine", threads=1, name="onnxruntime-cpu")


@pytest.fixture(scope="module")
def base(prepared: Path, engine: Engine) -> Bundle:
    return load_bundle(prepared / "adapters" / "base", engine.info)


def other_json(folder: Path, **change: object) -> None:
    path = folder / "engine.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((160, 224), np.uint8), ((160, 224, 4), np.uint8), ((224, 160, 3), np.uint8),
        ((1, 160, 224, 3), np.uint8), ((160, 224, 3), np.float32), ((160, 224, 3), np.int8),
    ],
)  # fmt: skip
def test_another_frame_is_refused_by_its_shape(
    engine: Engine, base: Bundle, shape: tuple[int, ...], kind: type
) -> None:
    with pytest.raises(EngineError, match=rf"{np.dtype(kind)}\({shape[0]}, .*not uint8\(160, 224"):
        engine.infer(np.zeros(shape, kind), base)


def test_one_flipped_bit_in_the_graph_is_found(state: Path) -> None:
    path = state / "engine" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(EngineLoadError, match=ALTERED):
        open_engine(state / "engine")


def test_a_missing_graph_is_named(state: Path) -> None:
    (state / "engine" / "model.onnx").unlink()
    with pytest.raises(EngineLoadError, match=ALTERED):
        open_engine(state / "engine")


def test_a_signed_graph_that_is_none_is_named(state: Path) -> None:
    path = state / "engine" / "model.onnx"
    path.write_bytes(b"signed nonsense")
    other_json(state / "engine", onnx_sha256=sha256(path))
    with pytest.raises(EngineLoadError, match=r"model\.onnx does not load"):
        open_engine(state / "engine")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3", '{"inputs": {"a": 3}}', "\0"])
def test_a_rotten_description_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "engine.json").write_text(text)
    with pytest.raises(EngineLoadError, match=r"engine\.json .*export the engine again"):
        EngineInfo.load(tmp_path)


def test_inputs_must_be_a_mapping(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "engine.json").write_text((prepared / "engine" / "engine.json").read_text())
    other_json(tmp_path, inputs=[])
    with pytest.raises(EngineLoadError, match=r"engine\.json"):
        EngineInfo.load(tmp_path)


def test_a_missing_description_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineLoadError, match=r"engine\.json"):
        open_engine(tmp_path)


def test_no_gpu_where_one_is_wanted_is_told(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acclimate.runtime.engines.find", Found)
    with pytest.raises(EngineLoadError, match="use auto"):
        open_engine(prepared / "engine", name="onnxruntime-cuda")
    assert open_engine(prepared / "engine", name="auto").name == "onnxruntime-cpu"


def test_there_and_back_again_in_every_output(engine: Engine, base: Bundle) -> None:
    frame = base.probe_frames[0]
    turned = replace(base, inputs=base.inputs | {WEIGHT: -base.inputs[WEIGHT]})
    first, between, again = (engine.infer(frame, b) for b in (base, turned, base))
    assert (between.confidence != first.confidence).any()
    assert (between.labels != first.labels).any()
    assert between.embedding.tobytes() == first.embedding.tobytes(), "no adapter moves it"
    for name in ("labels", "confidence", "histogram", "embedding"):
        assert getattr(again, name).tobytes() == getattr(first, name).tobytes()


def test_outputs_are_what_they_say(engine: Engine, base: Bundle) -> None:
    result = engine.infer(base.probe_frames[0], base)
    assert (result.labels.shape, result.labels.dtype) == (engine.info.size, np.uint8)
    shares = np.bincount(result.labels.ravel(), minlength=14) / result.labels.size
    np.testing.assert_allclose(result.histogram, shares, atol=1e-6)
    assert ((result.confidence > 0) & (result.confidence <= 1)).all()
    assert np.linalg.norm(result.embedding) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("times", [1, 3])
def test_strings_may_come_in_any_number(engine: Engine, base: Bundle, times: int) -> None:
    inputs = dict(base.inputs)
    for name in ("text", "string_to_class"):
        inputs[name] = np.repeat(inputs[name][:7], times, 0)
    result = engine.infer(base.probe_frames[0], replace(base, inputs=inputs))
    served = inputs["string_to_class"].argmax(1)
    assert set(np.unique(result.labels)) <= set(served.tolist())
    assert result.histogram.shape == (14,)


@pytest.mark.parametrize("classes", [2, 5, 30])
def test_classes_may_come_in_any_number(engine: Engine, base: Bundle, classes: int) -> None:
    """Each string a class of its own; the signals are in step with the labels."""
    text = np.tile(base.inputs["text"], (2, 1, 1))[:classes]
    inputs = base.inputs | {"text": text, "string_to_class": np.eye(classes, dtype=np.float32)}
    frame = base.probe_frames[0]
    result = engine.infer(frame, replace(base, inputs=inputs))
    assert result.histogram.shape == (classes,)
    counts = np.bincount(result.labels.ravel(), minlength=classes)
    np.testing.assert_allclose(result.histogram, counts / result.labels.size, atol=1e-6)
    assert 0 < result.confidence[2] <= 1 + 1e-6  # entropy in units of ln T


def test_the_map_is_what_the_signals_summarise(engine: Engine, base: Bundle) -> None:
    frame = base.probe_frames[1]
    labels, probability = engine.infer_map(frame, base)
    result = engine.infer(frame, base)
    np.testing.assert_array_equal(labels, result.labels)
    assert probability.shape == labels.shape
    expected = [probability.mean(), (probability >= 0.5).mean()]
    np.testing.assert_allclose(result.confidence[:2], expected, atol=1e-5)


def test_an_engine_of_another_graph_is_to_be_exported_again(state: Path) -> None:
    other_json(state / "engine", graph=1)
    with pytest.raises(EngineLoadError, match=rf"graph 1, not {GRAPH}.*export the engine again"):
        open_engine(state / "engine")


def test_the_probe_is_reproduced(engine: Engine, base: Bundle) -> None:
    labels: list[Any] = [engine.infer(frame, base).labels for frame in base.probe_frames]
    assert (np.stack(labels) == base.probe_labels).mean() >= 0.999


def test_no_module_of_serving_imports_torch() -> None:
    found = pkgutil.walk_packages(acclimate.runtime.__path__, "acclimate.runtime.")
    names = [module.name for module in found]
    assert len(names) > 10
    heavy = "{'torch', 'open_clip', 'peft'}"
    code = f"import sys, {', '.join(names)}; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def altered(base: Bundle, factor: float) -> Bundle:
    """Another adapter for the same engine."""
    inputs = {
        name: value * np.float32(factor) if "proj" in name else value
        for name, value in base.inputs.items()
    }
    return replace(base, id=f"times {factor}", inputs=inputs)


def test_a_staged_bundle_does_not_serve_until_it_is_asked_for(engine: Engine, base: Bundle) -> None:
    frame, other = base.probe_frames[0], altered(base, -2.0)
    before = engine.infer(frame, base)
    engine.stage(other)
    again, after = engine.infer(frame, base), engine.infer(frame, other)
    assert np.array_equal(before.confidence, again.confidence)
    assert not np.array_equal(before.confidence, after.confidence)
    back = engine.infer(frame, base)
    assert np.array_equal(before.labels, back.labels)
    assert np.array_equal(before.confidence, back.confidence)


def test_what_was_answered_stays_as_it_is(engine: Engine, base: Bundle) -> None:
    first = engine.infer(base.probe_frames[0], base)
    labels = first.labels.copy()
    engine.infer(base.probe_frames[1], base)
    assert np.array_equal(first.labels, labels)


def test_a_twin_gives_the_same_and_outlives_its_sister(prepared: Path, base: Bundle) -> None:
    one = open_engine(prepared / "engine", 1, "onnxruntime-cpu")
    twin, frame = one.twin(), base.probe_frames[0]
    assert np.array_equal(one.infer(frame, base).labels, twin.infer(frame, base).labels)
    one.close()
    twin.infer(frame, base)
