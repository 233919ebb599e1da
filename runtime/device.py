"""A GPU's memory, streams and graphs through NVIDIA's own bindings: all CUDA calls are here.

`Device` is what a backend needs of a GPU; `Cuda` is one. Addresses are plain integers. What was
allocated through a device goes with `close`.
"""

from __future__ import annotations

import ctypes
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from acclimate.errors import EngineError, EngineLoadError

Stream = Any  # int(stream) is its handle
Graph = Any
POLL_S = 50e-6  # a tenth of the shortest frame that was ever worth counting


@dataclass(frozen=True)
class Card:
    """What CUDA tells of a GPU; `cuda` is the newest CUDA that its driver runs."""

    name: str
    capability: tuple[int, int]
    memory_mb: int
    cuda: str


def first_card() -> Card | None:
    """The GPU that `Cuda` uses, or None; raises EngineLoadError without bindings."""
    cuda = _bindings()
    status, count = cuda.cudaGetDeviceCount()
    if int(status) or not count:
        return None
    status, card = cuda.cudaGetDeviceProperties(0)
    if int(status):
        return None
    name = card.name.decode(errors="replace").rstrip("\0")
    status, version = cuda.cudaDriverGetVersion()
    newest = "" if int(status) else f"CUDA {version // 1000}.{version % 1000 // 10}"
    capability = (int(card.major), int(card.minor))
    return Card(name, capability, int(card.totalGlobalMem) >> 20, newest)


def _bindings() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except (ImportError, RuntimeError, OSError) as error:
        raise EngineLoadError(
            f"cuda-bindings do not load ({error}); pip install 'acclimate[tensorrt]'"
        ) from error


class Device(Protocol):
    """Memory and streams of one GPU; every call raises EngineError naming itself."""

    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the GPU."""

    def free(self, address: int) -> None:
        """Give them back."""

    def pin(self, shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
        """An array on the host that the GPU reads and writes without a detour."""

    def stream(self, urgent: bool) -> Stream:
        """A queue of work that goes before all others, or after them."""

    def upload(self, address: int, values: NDArray[Any], stream: Stream) -> None:
        """Queue a copy to the GPU; `values` (contiguous) must stay as they are until `wait`."""

    def download(self, values: NDArray[Any], address: int, stream: Stream) -> None:
        """Queue a copy into `values` (contiguous), which are whole after `wait`."""

    def zero(self, address: int, size: int, stream: Stream) -> None:
        """Queue the filling of `size` bytes with zeros."""

    def wait(self, stream: Stream, seconds: float) -> None:
        """Until all that was queued is done; raises EngineError after `seconds`."""

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """What `work` queues, as a graph that is launched as a whole; nothing is run."""

    def launch(self, graph: Graph, stream: Stream) -> None:
        """Queue a captured graph."""

    def drop(self, graph: Graph) -> None:
        """Forget a captured graph."""

    def close(self) -> None:
        """Give back everything; raises nothing."""


class Cuda:
    """The first GPU that CUDA_VISIBLE_DEVICES leaves; see Device."""

    def __init__(self) -> None:
        """Raises EngineLoadError without bindings, driver or GPU."""
        self._cuda = _bindings()
        self._memory: set[int] = set()
        self._pinned: list[int] = []
        self._streams: list[Any] = []
        self._graphs: list[Any] = []
        try:
            self._call("cudaSetDevice", 0)
            self._least, self._greatest = self._call("cudaDeviceGetStreamPriorityRange")
        except EngineError as error:
            raise EngineLoadError(f"{error}; check the driver with nvidia-smi") from error

    def allocate(self, size: int) -> int:
        """See Device."""
        (address,) = self._call("cudaMalloc", size)
        self._memory.add(int(address))
        return int(address)

    def free(self, address: int) -> None:
        """See Device."""
        self._memory.discard(address)
        self._call("cudaFree", address)

    def pin(self, shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
        """See Device."""
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        (address,) = self._call("cudaHostAlloc", size, self._cuda.cudaHostAllocDefault)
        self._pinned.append(int(address))
        raw = (ctypes.c_ubyte * size).from_address(int(address))
        pinned: NDArray[Any] = np.ctypeslib.as_array(raw).view(kind).reshape(shape)
        return pinned

    def stream(self, urgent: bool) -> Stream:
        """See Device."""
        priority = self._greatest if urgent else self._least
        flags = self._cuda.cudaStreamNonBlocking
        (stream,) = self._call("cudaStreamCreateWithPriority", flags, priority)
        self._streams.append(stream)
        return stream

    def upload(self, address: int, values: NDArray[Any], stream: Stream) -> None:
        """See Device."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, values.ctypes.data, values.nbytes, kind, stream)

    def download(self, values: NDArray[Any], address: int, stream: Stream) -> None:
        """See Device."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", values.ctypes.data, address, values.nbytes, kind, stream)

    def zero(self, address: int, size: int, stream: Stream) -> None:
        """See Device."""
        self._call("cudaMemsetAsync", address, 0, size, stream)

    def wait(self, stream: Stream, seconds: float) -> None:
        """See Device. Polled: `cudaStreamSynchronize` on a hung GPU never comes back."""
        deadline = time.monotonic() + seconds
        while True:
            (status,) = self._cuda.cudaStreamQuery(stream)
            if status != self._cuda.cudaError_t.cudaErrorNotReady:
                return self._check("cudaStreamQuery", status)
            if time.monotonic() > deadline:
                raise EngineError(f"the GPU did not answer within {seconds:g} s")
            time.sleep(POLL_S)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """See Device. Other threads may call what they like meanwhile."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            work()
        except BaseException:
            self._cuda.cudaStreamEndCapture(stream)  # or the stream stays of no use
            raise
        (recorded,) = self._call("cudaStreamEndCapture", stream)
        try:
            (graph,) = self._call("cudaGraphInstantiate", recorded, 0)
        finally:
            self._call("cudaGraphDestroy", recorded)
        self._graphs.append(graph)
        return graph

    def launch(self, graph: Graph, stream: Stream) -> None:
        """See Device."""
        self._call("cudaGraphLaunch", graph, stream)

    def drop(self, graph: Graph) -> None:
        """See Device."""
        self._graphs.remove(graph)
        self._call("cudaGraphExecDestroy", graph)

    def close(self) -> None:
        """See Device. A GPU that failed answers each of these with its failure again."""
        for graph in self._graphs:
            self._cuda.cudaGraphExecDestroy(graph)
        for stream in self._streams:
            self._cuda.cudaStreamDestroy(stream)
        for address in self._memory:
            self._cuda.cudaFree(address)
        for address in self._pinned:
            self._cuda.cudaFreeHost(address)
        self._graphs, self._streams, self._memory, self._pinned = [], [], set(), []

    def _call(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        status, *values = getattr(self._cuda, name)(*arguments)
        self._check(name, status)
        return tuple(values)

    def _check(self, name: str, status: Any) -> None:
        if int(status):
            _, text = self._cuda.cudaGetErrorString(status)
            text = text.decode() if isinstance(text, bytes) else text
            raise EngineError(f"{name} failed: {text} ({getattr(status, 'name', int(status))})")
