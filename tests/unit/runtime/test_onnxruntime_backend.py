"""ONNX Runtime's buffers: bundles are copied into sets that are used again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acclimate.errors import EngineError
from acclimate.runtime.engine import OUTPUTS
from acclimate.runtime.onnxruntime_backend import OnnxRuntime
from tests.unit.runtime.tensorrt_double import HostDevice, Machine
from tests.unit.runtime.test_tensorrt_backend import bundle, frame, graph

CPU = [("CPUExecutionProvider", dict[str, str]())]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(graph())
    return tmp_path / "model.onnx"


def addresses(staged: Any) -> dict[str, int]:
    host = {name: array.ctypes.data for name, array in staged.host.items()}
    return host | {name: value.data_ptr() for name, value in staged.on_device.items()}


def test_a_set_is_used_again_where_the_shapes_fit(path: Path) -> None:
    backend = OnnxRuntime("onnxruntime-cpu", path, 1, CPU)
    one = backend.stage(bundle(1).inputs, None)
    frames = [frame(1), frame(2)]
    fresh = backend.stage(bundle(2).inputs, None).run(frames, OUTPUTS)
    again = backend.stage(bundle(2).inputs, one)
    assert addresses(again) == addresses(one)
    for got, wanted in zip(again.run(frames, OUTPUTS), fresh, strict=True):
        assert np.array_equal(got, wanted)
    other = addresses(backend.stage(bundle(3, 7, 6).inputs, again))
    new = {name for name, address in addresses(again).items() if other[name] != address}
    assert new == {"text", "string_to_class", "histogram"}


def test_a_bundle_is_copied_once(path: Path) -> None:
    backend, words = OnnxRuntime("onnxruntime-cpu", path, 1, CPU), bundle(1)
    staged = backend.stage(words.inputs, None)
    before = staged.run([frame(1)] * 2, OUTPUTS)
    for value in words.inputs.values():
        value[:] = np.nan
    after = staged.run([frame(1)] * 2, OUTPUTS)
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))


def test_frames_and_results_lie_in_pinned_memory_where_there_is_some(path: Path) -> None:
    machine = Machine()
    backend = OnnxRuntime("onnxruntime-cpu", path, 1, CPU, lambda: HostDevice(machine))
    staged = backend.stage(bundle(1).inputs, None)
    assert machine.count["pin"] == 1 + len(OUTPUTS)
    backend.stage(bundle(2).inputs, staged).run([frame(1)] * 2, OUTPUTS)
    assert machine.count["pin"] == 1 + len(OUTPUTS), "a swap pins nothing more"


def test_what_fails_is_an_engine_error(path: Path) -> None:
    backend = OnnxRuntime("onnxruntime-cpu", path, 1, CPU)
    staged = backend.stage(bundle(1).inputs | {"weight": np.zeros((2, 2), np.float32)}, None)
    with pytest.raises(EngineError, match="onnxruntime failed"):
        staged.run([frame(1)] * 2, OUTPUTS)
