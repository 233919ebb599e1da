"""ONNX Runtime as a backend: on the processor, or on a GPU through one of its providers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from acclimate.errors import EngineLoadError
from acclimate.runtime.engine import Staged

if TYPE_CHECKING:
    from acclimate.runtime.bundle import Arrays

Providers = list[Any]  # names, or (name, options)
KINDS = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


class OnnxRuntime:
    """A session on a graph's file; the processor's providers stand behind a GPU's."""

    def __init__(self, name: str, path: Path, threads: int, providers: Providers) -> None:
        """Load; raises EngineLoadError naming the file."""
        self.name, self._path, self._threads, self._providers = name, path, threads, providers
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:
            raise EngineLoadError(f"{path} does not load: {error}") from error
        self._device = "cpu" if name.endswith("cpu") else "cuda"

    def stage(self, inputs: Arrays, spare: Staged | None) -> Staged:
        """Bind the inputs; on the processor they are read where they lie."""
        return _Bound(self._session, inputs, self._device)

    def twin(self) -> OnnxRuntime:
        """Another session, of one thread."""
        return OnnxRuntime(self.name, self._path, 1, self._providers)

    def close(self) -> None:
        """The session goes with its last reference."""
        del self._session


class _Bound:
    def __init__(self, session: Any, inputs: Arrays, device: str) -> None:
        self._session, self._device, self._binding = session, device, session.io_binding()
        self._frame: Any = None
        for name, value in inputs.items():
            self._binding.bind_ortvalue_input(name, _on(device, value))
        self._inputs = inputs  # their memory is what was bound
        classes = inputs["string_to_class"].shape[1]
        self._outputs: dict[str, NDArray[Any]] = {}
        for output in session.get_outputs():
            shape = [classes if isinstance(n, str) else n for n in output.shape]
            buffer = self._outputs[output.name] = np.empty(shape, KINDS[output.type])
            self._binding.bind_output(
                output.name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data
            )

    def run(self, frames: NDArray[np.uint8], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """See acclimate.runtime.engine.Staged."""
        if self._device == "cpu" or self._frame is None:
            self._frame = _on(self._device, frames)
            self._binding.bind_ortvalue_input("frame", self._frame)
        else:
            self._frame.update_inplace(frames)
        self._session.run_with_iobinding(self._binding)
        return [self._outputs[name].copy() for name in outputs]


def _on(device: str, value: NDArray[Any]) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value), device, 0)
