"""What the real TensorRT for RTX says of its API, and of plans, on a machine without a GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acclimate.errors import EngineLoadError
from acclimate.runtime.found import find
from acclimate.runtime.plan import Plan, load_module
from tests.unit.runtime.test_tensorrt_backend import INFO, PROFILE, graph

USED = {
    "Runtime": ["deserialize_cuda_engine"],
    "ICudaEngine": [
        "create_execution_context", "create_runtime_config", "get_tensor_dtype", "get_tensor_name",
        "get_tensor_profile_shape", "get_tensor_shape", "num_io_tensors",
    ],
    "IExecutionContext": [
        "execute_async_v3", "get_tensor_shape", "infer_shapes", "set_device_memory",
        "set_input_shape", "set_tensor_address", "update_device_memory_size_for_shapes",
    ],
    "IRuntimeConfig": [
        "create_runtime_cache", "dynamic_shapes_kernel_specialization_strategy",
        "set_execution_context_allocation_strategy", "set_runtime_cache",
    ],
    "IRuntimeCache": ["serialize", "deserialize"],
    "ExecutionContextAllocationStrategy": ["USER_MANAGED"],
    "DynamicShapesKernelSpecializationStrategy": ["EAGER"],
}  # fmt: skip


@pytest.fixture(scope="module")
def trt() -> Any:
    return pytest.importorskip("tensorrt_rtx")


@pytest.fixture(scope="module")
def built(trt: Any) -> bytes:
    """A plan of the double's graph, built ahead of time."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    assert trt.OnnxParser(network, logger).parse(graph())
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for name, shapes in PROFILE.items():
        profile.set_shape(name, *map(tuple, shapes))
    config.add_optimization_profile(profile)
    return bytes(builder.build_serialized_network(network, config))


def test_every_name_that_is_used_is_there(trt: Any) -> None:
    missing = [f"{k}.{n}" for k, names in USED.items() for n in names if not hasattr(trt, k)
               or not hasattr(getattr(trt, k), n)]  # fmt: skip
    assert missing == []
    assert [trt.nptype(kind) for kind in (trt.uint8, trt.float32)] == [np.uint8, np.float32]


def test_a_plan_without_a_gpu_is_told_in_the_library_s_words(
    trt: Any, built: bytes, tmp_path: Path
) -> None:
    if find().gpu is not None:
        pytest.skip("there is a GPU here")
    path = tmp_path / "engine.plan"
    path.write_bytes(built)
    with pytest.raises(EngineLoadError, match=r"engine\.plan does not load: .*Cuda Runtime"):
        Plan("tensorrt-rtx", trt, path, INFO)


@pytest.mark.parametrize("content", [b"", b"nonsense" * 50, None], ids=["none", "alien", "short"])
def test_a_plan_that_is_none_is_told_and_nothing_crashes(
    trt: Any, built: bytes, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "engine.plan"
    path.write_bytes(built[:-100] if content is None else content)
    with pytest.raises(EngineLoadError, match=r"engine\.plan does not load.*acclimate export"):
        Plan("tensorrt-rtx", trt, path, INFO)


def test_a_library_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineLoadError, match=r"tensorrt does not load.*acclimate\[tensorrt\]"):
        load_module("tensorrt")
