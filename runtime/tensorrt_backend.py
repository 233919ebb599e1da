"""TensorRT and TensorRT for RTX as backends: one plan, a context for each set of buffers.

Both have the same Python API; which one is a parameter. A swap is another set of buffers: their
addresses, shapes and captured graph were made ready when the bundle was staged.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from acclimate.errors import EngineError
from acclimate.runtime.device import Device, Graph, Stream
from acclimate.runtime.engine import EngineInfo, Staged
from acclimate.runtime.plan import Plan

if TYPE_CHECKING:
    from acclimate.runtime.bundle import Arrays

FRAME_S = 10.0  # a frame that takes longer never comes
STAGE_S = 120.0  # the first run on new shapes may load and compile kernels


class TensorRT:
    """Two sets of buffers on one plan; `twin` is two more, at the lowest priority."""

    def __init__(
        self, name: str, module: Any, path: Path, info: EngineInfo, device: Callable[[], Device],
        plan: Plan | None = None,
    ) -> None:  # fmt: skip
        """Load the plan unless it is given; raises EngineError kinds naming the file."""
        self.name, self._again = name, (name, module, path, info, device)
        self._device = device()
        try:
            self._plan = plan or Plan(name, module, path, info)
            urgent = plan is None
            self._spares = [_Set(self._plan, self._device, urgent) for _ in range(2)]
        except BaseException:  # only to clean up
            self._device.close()
            raise

    def stage(self, inputs: Arrays, spare: Staged | None) -> Staged:
        """Copy the inputs into a set of buffers and run it once if their shapes are new."""
        buffers = spare if isinstance(spare, _Set) else self._spares.pop()
        try:
            buffers.fill(inputs)
        except BaseException:  # only to keep the set
            self._spares.append(buffers)
            raise
        return buffers

    def twin(self) -> TensorRT:
        """Another one on the same plan, which goes behind this one on the GPU."""
        return TensorRT(*self._again, plan=self._plan)

    def close(self) -> None:
        """Give the GPU's memory back; a twin keeps its own."""
        self._spares = []
        self._device.close()


class _Set:
    """A context with buffers for whatever the plan takes, and a bundle in them."""

    def __init__(self, plan: Plan, device: Device, urgent: bool) -> None:
        self._plan, self._device, self._context = plan, device, plan.context()
        self._stream, self._aside = device.stream(urgent), device.stream(False)
        self._address = {name: device.allocate(t.bytes) for name, t in plan.tensors.items()}
        for name, address in self._address.items():
            plan.ok(self._context.set_tensor_address(name, address), f"binding {name}")
        frame = plan.tensors["frame"]
        self._frames = device.pin(frame.most, frame.kind)
        self._host = {name: device.pin((t.bytes,), np.uint8) for name, t in plan.outputs.items()}
        self._results: dict[str, NDArray[Any]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._scratch: tuple[int, int] = (0, 0)  # address, bytes
        self._graph: Graph | None = None

    def fill(self, inputs: Arrays) -> None:
        """Take a bundle's inputs; nothing of the set that serves is touched."""
        self._device.wait(self._stream, FRAME_S)  # a frame that was given up may still be running
        values = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
        shapes = {name: value.shape for name, value in values.items()}
        for name, value in values.items():
            if value.nbytes > self._plan.tensors[name].bytes:
                raise EngineError(f"{name} {value.shape} is more than this engine was built for")
            self._device.upload(self._address[name], value, self._aside)
        self._device.wait(self._aside, STAGE_S)
        if shapes != self._shapes:
            self._reshape(shapes)

    def run(self, frames: Sequence[NDArray[np.uint8]], outputs: Sequence[str]) -> list[Any]:
        """See acclimate.runtime.engine.Staged."""
        np.stack(frames, out=self._frames)
        self._device.upload(self._address["frame"], self._frames, self._stream)
        if self._graph is None:
            self._enqueue(self._stream)
        else:
            self._device.launch(self._graph, self._stream)
        for name in outputs:
            self._device.download(self._results[name], self._address[name], self._stream)
        self._device.wait(self._stream, FRAME_S)
        return [self._results[name].copy() for name in outputs]

    def _reshape(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Shapes, scratch memory and a first run: whatever a frame should not wait for."""
        self._shapes = {}  # torn until it is whole again
        if self._graph is not None:
            self._device.drop(self._graph)
            self._graph = None
        for name, shape in shapes.items():
            self._plan.ok(self._context.set_input_shape(name, shape), f"{name} of {shape}")
        if lacking := self._context.infer_shapes():
            raise EngineError(f"{self._plan.name} misses the shapes of {', '.join(lacking)}")
        self._grow(int(self._context.update_device_memory_size_for_shapes()))
        self._results = {name: self._result(name) for name in self._host}
        self._device.zero(self._address["frame"], self._frames.nbytes, self._aside)
        self._enqueue(self._aside)
        self._device.wait(self._aside, STAGE_S)
        self._graph = self._captured()
        self._plan.keep_compiled()
        self._shapes = shapes

    def _grow(self, size: int) -> None:
        address, have = self._scratch
        if size > have:
            self._scratch = (0, 0)
            if address:
                self._device.free(address)
            self._scratch = (self._device.allocate(size), size)
        self._context.set_device_memory(*self._scratch)

    def _result(self, name: str) -> NDArray[Any]:
        shape = tuple(self._context.get_tensor_shape(name))
        tensor, room = self._plan.tensors[name], self._host[name]
        size = int(np.prod(shape)) * tensor.kind.itemsize
        if min(shape) < 0 or size > len(room):
            raise EngineError(f"{self._plan.name} has no room for {name} of {shape}")
        return room[:size].view(tensor.kind).reshape(shape)

    def _enqueue(self, stream: Stream) -> None:
        self._plan.ok(self._context.execute_async_v3(int(stream)), "running it")

    def _captured(self) -> Graph | None:
        """The run as a CUDA graph; None where it cannot be captured, which is said once."""
        if not self._plan.capturable:
            return None
        try:
            return self._device.capture(self._stream, lambda: self._enqueue(self._stream))
        except EngineError as error:
            self._plan.capturable = False
            print(f"no CUDA graph: {error}; serving without", file=sys.stderr, flush=True)
            return None
