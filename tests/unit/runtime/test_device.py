# ruff: noqa: N815  (the names are CUDA's)
"""CUDA's side of a device, call by call, over a runtime that writes down what it is asked for."""

from __future__ import annotations

import ctypes
import importlib
import re
import sys
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from acclimate.errors import EngineError, EngineLoadError
from acclimate.runtime import device
from acclimate.runtime.device import Cuda
from acclimate.runtime.found import find


class Error(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorNotReady = 600
    cudaErrorLaunchFailure = 719


class Runtime:
    """As much of cuda.bindings.runtime as is called; memory is the host's."""

    cudaError_t = Error
    cudaHostAllocDefault, cudaStreamNonBlocking = 0, 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.answers: dict[str, Any] = {}
        self.blocks: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, arguments))
            if name in self.answers:
                answer = self.answers[name]
                return (answer.pop(0) if isinstance(answer, list) else answer, None, None)[
                    : 1 if name == "cudaStreamQuery" else 3
                ]
            return (Error.cudaSuccess, *self._values(name, arguments))

        return call

    def _values(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if name in ("cudaMalloc", "cudaHostAlloc"):
            block = (ctypes.c_ubyte * arguments[0])()
            self.blocks[ctypes.addressof(block)] = block
            return (ctypes.addressof(block),)
        if name == "cudaMemcpyAsync":
            ctypes.memmove(*arguments[:3])
        values: dict[str, tuple[Any, ...]] = {
            "cudaDeviceGetStreamPriorityRange": (0, -5), "cudaStreamEndCapture": ("recorded",),
            "cudaGraphInstantiate": ("graph",), "cudaGetErrorString": (b"what went wrong",),
            "cudaStreamCreateWithPriority": (f"stream {arguments[-1:]}",),
        }  # fmt: skip
        return values.get(name, ())

    def asked(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for called, arguments in self.calls if called == name]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    double = Runtime()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", double)
    return double


def test_there_and_back_through_the_device(runtime: Runtime) -> None:
    cuda = Cuda()
    stream, values = cuda.stream(urgent=True), np.arange(12, dtype=np.float32).reshape(3, 4)
    address, back = cuda.allocate(values.nbytes), cuda.pin((3, 4), np.float32)
    cuda.upload(address, values, stream)
    cuda.download(back, address, stream)
    cuda.wait(stream, 1.0)
    assert np.array_equal(back, values)
    assert [call[3:] for call in runtime.asked("cudaMemcpyAsync")] == [(1, stream), (2, stream)]


def test_urgent_goes_first(runtime: Runtime) -> None:
    cuda = Cuda()
    cuda.stream(urgent=True), cuda.stream(urgent=False)
    assert runtime.asked("cudaStreamCreateWithPriority") == [(1, -5), (1, 0)]


CALLS: list[tuple[str, Callable[[Cuda], Any]]] = [
    ("cudaMalloc", lambda c: c.allocate(1)),
    ("cudaFree", lambda c: c.free(1)),
    ("cudaHostAlloc", lambda c: c.pin((1,), np.uint8)),
    ("cudaStreamCreateWithPriority", lambda c: c.stream(urgent=True)),
    ("cudaMemcpyAsync", lambda c: c.upload(1, np.zeros(1), 0)),
    ("cudaMemcpyAsync", lambda c: c.download(np.zeros(1), 1, 0)),
    ("cudaMemsetAsync", lambda c: c.zero(1, 1, 0)),
    ("cudaStreamQuery", lambda c: c.wait(0, 1.0)),
    ("cudaStreamBeginCapture", lambda c: c.capture(0, lambda: None)),
    ("cudaStreamEndCapture", lambda c: c.capture(0, lambda: None)),
    ("cudaGraphInstantiate", lambda c: c.capture(0, lambda: None)),
    ("cudaGraphLaunch", lambda c: c.launch("graph", 0)),
]


@pytest.mark.parametrize(("name", "do"), CALLS)
def test_every_code_is_looked_at(runtime: Runtime, name: str, do: Callable[[Cuda], Any]) -> None:
    cuda = Cuda()
    runtime.answers[name] = Error.cudaErrorMemoryAllocation
    wanted = rf"{name} failed: what went wrong \(cudaErrorMemoryAllocation\)"
    with pytest.raises(EngineError, match=wanted):
        do(cuda)


def test_waiting_ends(runtime: Runtime) -> None:
    cuda = Cuda()
    runtime.answers["cudaStreamQuery"] = [Error.cudaErrorNotReady, Error(0)]
    cuda.wait(0, 10.0)
    runtime.answers["cudaStreamQuery"] = Error.cudaErrorNotReady
    with pytest.raises(EngineError, match=r"did not answer within 0\.01 s"):
        cuda.wait(0, 0.01)


def test_a_capture_that_fails_ends_and_nothing_recorded_stays(runtime: Runtime) -> None:
    cuda = Cuda()

    def fail() -> None:
        raise EngineError("no")

    with pytest.raises(EngineError, match="no"):
        cuda.capture(0, fail)
    assert runtime.asked("cudaStreamEndCapture") == [(0,)]
    assert cuda.capture(0, lambda: None) == "graph"
    assert runtime.asked("cudaGraphDestroy") == [("recorded",)]


def test_all_that_was_taken_is_given_back_whatever_it_answers(runtime: Runtime) -> None:
    cuda = Cuda()
    kept, freed, pinned = cuda.allocate(4), cuda.allocate(4), cuda.pin((2,), np.uint8)
    stream = cuda.stream(urgent=False)
    cuda.free(freed)
    cuda.capture(stream, lambda: None)
    for name in ("cudaFree", "cudaFreeHost", "cudaStreamDestroy", "cudaGraphExecDestroy"):
        runtime.answers[name] = Error.cudaErrorLaunchFailure
    cuda.close()
    assert runtime.asked("cudaFree") == [(freed,), (kept,)]
    assert runtime.asked("cudaFreeHost") == [(pinned.ctypes.data,)]
    assert runtime.asked("cudaStreamDestroy") == [(stream,)]
    assert runtime.asked("cudaGraphExecDestroy") == [("graph",)]
    cuda.close()
    assert len(runtime.asked("cudaFreeHost")) == 1


def test_no_bindings_are_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(EngineLoadError, match=r"cuda-bindings do not load.*pip install"):
        Cuda()


def test_no_driver_is_told_by_the_real_bindings() -> None:
    pytest.importorskip("cuda.bindings.runtime")
    if find().gpu is not None:
        pytest.skip("there is a GPU here")
    with pytest.raises(EngineLoadError, match=r"cudaSetDevice failed: .*nvidia-smi"):
        Cuda()


def test_every_name_is_one_of_the_real_bindings() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    text = Path(device.__file__).read_text()
    names = set(re.findall(r"\b(cuda[A-Z]\w+)", text))
    assert len(names) > 20
    kinds = [runtime, runtime.cudaError_t, runtime.cudaMemcpyKind, runtime.cudaStreamCaptureMode]
    assert {name for name in names if not any(hasattr(kind, name) for kind in kinds)} == set()


def test_cuda_is_called_nowhere_else() -> None:
    folder = Path(str(importlib.import_module("acclimate.runtime").__path__[0]))
    said = {p.name for p in folder.glob("*.py") if "cuda.bindings.runtime" in p.read_text()}
    assert said == {"device.py"}
