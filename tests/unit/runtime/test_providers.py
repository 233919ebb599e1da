"""ONNX Runtime's providers: the options' names, and that work left to the processor is seen."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime as ort
import pytest

from acclimate.errors import EngineLoadError
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.providers import (
    CUDA_OPTIONS,
    PLACEMENT,
    check_placement,
    heavy_on_cpu,
    providers_for,
    tensorrt_options,
)

INPUTS = {"text": ((-1, 80, 512), "float32"), "string_to_class": ((-1, -1), "float32")}
INFO = EngineInfo("base", (384, 384), 1, False, (2, 128), INPUTS, "0" * 64, {})
CUDA = "CUDAExecutionProvider"


def library(name: str) -> bytes:
    path = Path(ort.__file__).parent / "capi" / f"libonnxruntime_providers_{name}.so"
    if not path.is_file():
        pytest.skip(f"this onnxruntime has no {name}")
    return path.read_bytes()


def test_every_option_is_one_that_the_library_reads(tmp_path: Path) -> None:
    options = tensorrt_options(INFO, tmp_path, "label")
    known, content = library("tensorrt"), set(options)
    assert {name for name in content if b"\0" + name.encode() + b"\0" not in known} == set()
    known = library("cuda")
    assert {name for name in CUDA_OPTIONS if b"\0" + name.encode() + b"\0" not in known} == set()
    assert b"\0HEURISTIC\0" in known


def test_the_profile_spans_what_the_engine_takes(tmp_path: Path) -> None:
    options = tensorrt_options(INFO, tmp_path / "new", "0123456789abcdef")
    profile = {n: options[f"trt_profile_{n}_shapes"] for n in ("min", "opt", "max")}
    assert profile == {
        "min": "text:2x80x512,string_to_class:2x2",
        "opt": "text:19x80x512,string_to_class:19x19",
        "max": "text:128x80x512,string_to_class:128x255",
    }
    assert (tmp_path / "new").is_dir() and "0123456789abcdef" in options["trt_engine_cache_prefix"]


@pytest.mark.parametrize(
    ("engine", "names"),
    [
        ("onnxruntime-cpu", ["CPU"]),
        ("onnxruntime-cuda", ["CUDA", "CPU"]),
        ("onnxruntime-tensorrt", ["Tensorrt", "CUDA", "CPU"]),
    ],
)
def test_the_processor_stands_behind(tmp_path: Path, engine: str, names: list[str]) -> None:
    found = providers_for(engine, INFO, tmp_path, "label")
    assert [name.removesuffix("ExecutionProvider") for name, _ in found] == names


def session(path: Path) -> Any:
    options = ort.SessionOptions()
    options.add_session_config_entry(PLACEMENT, "1")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def test_heavy_work_on_the_processor_is_seen_in_a_real_session(prepared: Path) -> None:
    """The default's own graph on the processor: every kind of it must be found."""
    heavy = heavy_on_cpu(session(prepared / "engine" / "model.onnx"))
    assert {"Conv", "ConvTranspose", "MatMul"} <= set(heavy)
    assert not {"Shape", "Gather", "Concat"} & set(heavy)


def placed(*where: tuple[str, str]) -> Any:
    """A session whose nodes lie where they are said to."""
    parts = [
        SimpleNamespace(ep_name=f"{ep}ExecutionProvider", get_nodes=lambda op=op: [
            SimpleNamespace(op_type=op)
        ])
        for ep, op in where
    ]  # fmt: skip
    return SimpleNamespace(
        get_providers=lambda: [CUDA, "CPUExecutionProvider"],
        get_provider_graph_assignment_info=lambda: parts,
    )


def test_shapes_may_stay_on_the_processor() -> None:
    check_placement(placed(("CUDA", "Conv"), ("CUDA", "MatMul"), ("CPU", "Gather")), CUDA)


def test_work_that_was_left_to_the_processor_is_refused() -> None:
    with pytest.raises(EngineLoadError, match=r"runs Conv, MatMul on the processor beside CUDA"):
        check_placement(placed(("CUDA", "Gemm"), ("CPU", "MatMul"), ("CPU", "Conv")), CUDA)


def test_a_provider_that_was_not_taken_is_refused(prepared: Path) -> None:
    real = session(prepared / "engine" / "model.onnx")
    with pytest.raises(EngineLoadError, match="could not use its CUDAExecutionProvider and took"):
        check_placement(real, CUDA)


def test_an_older_onnxruntime_tells_no_placement() -> None:
    check_placement(SimpleNamespace(get_providers=lambda: [CUDA]), CUDA)
