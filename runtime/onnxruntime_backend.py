"""ONNX Runtime as a backend: on the processor, or on a GPU through one of its providers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from acclimate.errors import EngineError, EngineLoadError
from acclimate.runtime.device import Device
from acclimate.runtime.engine import Staged
from acclimate.runtime.providers import CPU, PLACEMENT, Provider, check_placement

if TYPE_CHECKING:
    from acclimate.runtime.bundle import Arrays

# Its own errors have no base but Exception, and every release adds some.
FAILURES: tuple[type[Exception], ...] = (
    RuntimeError, ValueError, MemoryError,
    *(one for one in vars(native).values() if isinstance(one, type) and issubclass(one, Exception)),
)  # fmt: skip
KINDS = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


class OnnxRuntime:
    """A session on a graph's file; the processor's provider stands behind a GPU's."""

    def __init__(
        self, name: str, path: Path, threads: int, providers: list[Provider],
        gpu: Callable[[], Device] | None = None,
    ) -> None:  # fmt: skip
        """Load; raises EngineLoadError naming the file or the provider that was not used.

        `gpu` gives pinned memory for frames and results; ordinary memory serves as well.
        """
        self.name, self._again = name, (name, path, 1, providers, gpu)
        self._device = "cpu" if providers[0][0] == CPU else "cuda"
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if self._device != "cpu":
            options.add_session_config_entry(PLACEMENT, "1")
        try:  # without its fallback, which is silent here and prints where messages go
            self.session = ort.InferenceSession(
                str(path), options, providers=providers, enable_fallback=0
            )
        except Exception as error:  # a provider's library may raise anything; auto tries another
            raise EngineLoadError(f"{path} does not load: {error}") from error
        if self._device != "cpu":
            check_placement(self.session, providers[0][0])
        self._gpu = gpu() if gpu is not None else None

    def stage(self, inputs: Arrays, spare: Staged | None) -> Staged:
        """Copy the inputs into buffers on the device: those of `spare` where the shapes fit."""
        return _Bound(self, inputs, spare if isinstance(spare, _Bound) else None)

    def twin(self) -> OnnxRuntime:
        """Another session, of one thread."""
        return OnnxRuntime(*self._again)

    def close(self) -> None:
        """The session goes with its last reference."""
        del self.session
        if self._gpu is not None:
            self._gpu.close()

    def input(self, value: NDArray[Any], spare: Any) -> Any:
        """The value on the device: in `spare` where it has this shape, else in a new buffer."""
        if spare is None or tuple(spare.shape()) != value.shape:
            make = ort.OrtValue.ortvalue_from_shape_and_type
            spare = make(value.shape, value.dtype, self._device, 0)
        spare.update_inplace(np.ascontiguousarray(value))
        return spare

    def room(self, shape: Sequence[int], kind: Any, spare: NDArray[Any] | None) -> NDArray[Any]:
        """An array on the host: `spare` where it has this shape, else a new one."""
        if spare is not None and spare.shape == tuple(shape):
            return spare
        return np.empty(shape, kind) if self._gpu is None else self._gpu.pin(tuple(shape), kind)


class _Bound:
    """A bundle's inputs on the device, frames and results on the host, bound once."""

    def __init__(self, backend: OnnxRuntime, inputs: Arrays, spare: _Bound | None) -> None:
        self._session, self._binding = backend.session, backend.session.io_binding()
        old: dict[str, Any] = spare.on_device if spare else {}
        self.on_device: dict[str, Any] = {
            name: backend.input(value, old.get(name)) for name, value in inputs.items()
        }
        for name, value in self.on_device.items():
            self._binding.bind_ortvalue_input(name, value)
        classes = inputs["string_to_class"].shape[1]
        used: dict[str, NDArray[Any]] = spare.host if spare else {}
        self.host: dict[str, NDArray[Any]] = {}
        for bind, tensor in _tensors(self._session, self._binding):
            shape = [classes if isinstance(n, str) else n for n in tensor.shape]
            array = backend.room(shape, KINDS[tensor.type], used.get(tensor.name))
            bind(tensor.name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
            self.host[tensor.name] = array

    def run(
        self, frames: Sequence[NDArray[np.uint8]], outputs: Sequence[str]
    ) -> list[NDArray[Any]]:
        """See acclimate.runtime.engine.Staged."""
        np.stack(frames, out=self.host["frame"])
        try:
            self._session.run_with_iobinding(self._binding)
        except FAILURES as error:
            raise EngineError(f"onnxruntime failed: {error}") from error
        return [self.host[name].copy() for name in outputs]


def _tensors(session: Any, binding: Any) -> list[tuple[Any, Any]]:
    """What changes with every frame, and how each is bound."""
    frame = [(binding.bind_input, i) for i in session.get_inputs() if i.name == "frame"]
    return frame + [(binding.bind_output, o) for o in session.get_outputs()]
