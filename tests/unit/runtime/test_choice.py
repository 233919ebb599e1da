"""Which engine serves where: the order, what is missing, and what an engine is filed under."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acclimate.errors import EngineLoadError
from acclimate.runtime.choice import RTX_CAPABILITIES, Choice, choices, choose, key_for
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.found import Found, Gpu

RTX = Gpu("NVIDIA GeForce RTX 4090", (8, 9), 24564, "580.65.06")
H100 = Gpu("NVIDIA H100 80GB HBM3", (9, 0), 81559, "580.159.04")
TURING = Gpu("Tesla T4", (7, 5), 15360, "535.1")
ALL = Found(
    RTX,
    {"tensorrt": "10.13", "tensorrt_rtx": "1.7", "cuda.bindings": "13.5", "onnxruntime": "1.31"},
    ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
)
BARE = Found(None, ALL.libraries, ALL.providers)
INFO = EngineInfo("base", (384, 384), 1, False, (2, 200), {}, "f" * 64, {})


def without(found: Found, *names: str) -> Found:
    """With less installed."""
    kept = {name: version for name, version in found.libraries.items() if name not in names}
    providers = tuple(p for p in found.providers if p not in names)
    return replace(found, libraries=kept, providers=providers)


@pytest.mark.parametrize(
    ("found", "engine", "precision"),
    [
        (BARE, "onnxruntime-cpu", "fp32"),
        (ALL, "tensorrt", "fp16"),
        (without(ALL, "tensorrt"), "tensorrt-rtx", "fp16"),
        (without(ALL, "tensorrt_rtx"), "tensorrt", "fp16"),
        (without(replace(ALL, gpu=H100), "tensorrt"), "onnxruntime-cuda", "fp16"),
        (without(ALL, "cuda.bindings"), "onnxruntime-tensorrt", "fp16"),
        (without(ALL, "cuda.bindings", "TensorrtExecutionProvider"), "onnxruntime-cuda", "fp16"),
        (
            without(
                ALL, "cuda.bindings", "TensorrtExecutionProvider", "CUDAExecutionProvider"
            ),
            "onnxruntime-cpu", "fp32",
        ),
    ],
)  # fmt: skip
def test_auto_takes_the_best_that_is_there(found: Found, engine: str, precision: str) -> None:
    choice = choose("auto", "auto", found)
    assert (choice.engine, choice.precision) == (engine, precision)
    assert choice.reason


def test_auto_ends_on_the_processor_wherever_it_begins() -> None:
    order = [(c.engine, c.precision) for c in choices("auto", "auto", ALL)]
    assert order == [
        ("tensorrt", "fp16"), ("tensorrt-rtx", "fp16"), ("onnxruntime-tensorrt", "fp16"),
        ("onnxruntime-cuda", "fp16"), ("onnxruntime-cuda", "fp32"), ("onnxruntime-cpu", "fp32"),
    ]  # fmt: skip


def test_a_precision_that_is_asked_for_stays() -> None:
    assert {c.precision for c in choices("auto", "bf16", ALL)} == {"bf16"}


@pytest.mark.parametrize(
    ("engine", "found", "lacks", "remedy"),
    [
        ("tensorrt", BARE, "no CUDA device", "use auto"),
        ("onnxruntime-cuda", BARE, "no CUDA device", "use auto"),
        ("tensorrt", without(ALL, "tensorrt"), "tensorrt is not", r"acclimate\[tensorrt\]"),
        (
            "tensorrt-rtx", without(ALL, "tensorrt_rtx"), "tensorrt_rtx is not",
            r"acclimate\[tensorrt-rtx\]",
        ),
        ("tensorrt", without(ALL, "cuda.bindings"), "cuda.bindings is not", "pip install"),
        ("tensorrt-rtx", replace(ALL, gpu=H100), r"H100 80GB HBM3 \(compute 9\.0\)", "use tens"),
        (
            "onnxruntime-cuda", without(ALL, "CUDAExecutionProvider"), "no CUDAExecutionProvider",
            "onnxruntime-gpu",
        ),
        ("onnxruntime-tensorrt", without(ALL, "tensorrt"), "tensorrt is not", "pip install"),
    ],
)  # fmt: skip
def test_what_was_asked_for_by_name_is_not_replaced(
    engine: str, found: Found, lacks: str, remedy: str
) -> None:
    with pytest.raises(EngineLoadError, match=f"serving.engine is {engine}.*{lacks}.*{remedy}"):
        choose(engine, "auto", found)


def test_bf16_needs_ampere() -> None:
    with pytest.raises(EngineLoadError, match="bf16, which the Tesla T4"):
        choose("tensorrt", "bf16", replace(ALL, gpu=TURING))
    assert choose("tensorrt", "bf16", ALL).precision == "bf16"


def test_the_list_for_rtx_is_the_library_s_own() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    named = [n for n in trt.ComputeCapability.__members__ if n.startswith("SM")]
    assert sorted(named) == sorted(f"SM{major}{minor}" for major, minor in RTX_CAPABILITIES)


def test_a_key_changes_with_all_that_an_engine_depends_on() -> None:
    choice = Choice("tensorrt", "fp16", "")
    key = key_for(INFO, choice, 128, ALL)
    others = [
        key_for(replace(INFO, onnx_sha256="0" * 64), choice, 128, ALL),
        key_for(INFO, choice, 64, ALL),
        key_for(INFO, Choice("tensorrt", "fp32", ""), 128, ALL),
        key_for(INFO, Choice("tensorrt-rtx", "fp16", ""), 128, ALL),
        key_for(INFO, choice, 128, replace(ALL, gpu=H100)),
        key_for(INFO, choice, 128, replace(ALL, gpu=replace(RTX, driver="590"))),
        key_for(INFO, choice, 128, replace(ALL, libraries={"tensorrt": "10.14"})),
    ]
    assert len({key.digest, *(other.digest for other in others)}) == 1 + len(others)
    assert key_for(INFO, replace(choice, reason="another"), 128, ALL) == key


def test_a_capacity_beyond_the_graph_s_is_the_graph_s() -> None:
    choice = Choice("tensorrt", "fp16", "")
    assert key_for(INFO, choice, 4096, ALL) == key_for(INFO, choice, 200, ALL)


def test_onnxruntime_s_tensorrt_is_part_of_its_key() -> None:
    choice = Choice("onnxruntime-tensorrt", "fp16", "")
    assert key_for(INFO, choice, 128, ALL).library == "onnxruntime 1.31 + tensorrt 10.13"


def test_ahead_of_time_is_for_any_device() -> None:
    key = key_for(INFO, Choice("tensorrt-rtx", "fp16", ""), 128, BARE)
    assert (key.device, key.driver, key.library) == ("any", "any", "tensorrt_rtx 1.7")
