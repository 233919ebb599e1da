"""A TensorRT plan: deserialised, held against the graph it was built from, asked for contexts."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.errors import EngineError, EngineLoadError
from acclimate.runtime.durable import write_atomic
from acclimate.runtime.engine import OUTPUTS, EngineInfo

LINES = 3  # of the library's own errors that are told


@dataclass(frozen=True)
class Tensor:
    """An input or output: its largest shape, and what it holds."""

    most: tuple[int, ...]
    kind: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Of the largest shape."""
        return int(np.prod(self.most)) * self.kind.itemsize


class Plan:
    """One engine for any number of contexts, in `tensorrt` or `tensorrt_rtx` (`module`).

    `engine` and `logger` are the library's own; `tensors` and `outputs` what it takes and gives.
    """

    def __init__(self, name: str, module: Any, path: Path, info: EngineInfo) -> None:
        """Load; raises EngineLoadError naming the file, what the library says and the remedy."""
        self.name, self.capturable, self._module, self._path = name, True, module, path
        self._heard: list[str] = []
        self.logger = _logger(module, self._heard)
        self._runtime = module.Runtime(self.logger)
        self.engine = self._deserialised()
        self.tensors = self._table(info)
        self.outputs = {name: self.tensors[name] for name in OUTPUTS}
        self._strategy = module.ExecutionContextAllocationStrategy.USER_MANAGED
        self._compiled = path.parent.with_name(f"compiled-{path.parent.name}.cache")
        self._config, self._cache = self._configured()
        self._kept = 0

    def context(self) -> Any:
        """A context without memory for activations of its own."""
        how = self._strategy if self._config is None else self._config
        context = self.engine.create_execution_context(how)
        return self.ok(context, "making an execution context")

    def ok(self, value: Any, doing: str) -> Any:
        """The value; raises EngineError with the library's words where it is None or False."""
        if value is None or value is False:
            raise EngineError(f"{self.name} failed at {doing}: {self._said()}")
        return value

    def keep_compiled(self) -> None:
        """Write down the kernels that were compiled for this GPU, for the next start."""
        if self._cache is None:
            return
        blob = bytes(self._cache.serialize())
        if len(blob) == self._kept:
            return
        try:
            write_atomic(self._compiled, blob)
            self._kept = len(blob)
        except OSError as error:
            print(f"{self._compiled} was not written: {error}", file=sys.stderr, flush=True)

    def _deserialised(self) -> Any:
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise EngineLoadError(f"{self._path} cannot be read: {error}") from error
        engine = self._runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise EngineLoadError(
                f"{self._path} does not load: {self._said()}; "
                f"`acclimate export --engine {self.name}` builds it for this machine"
            )
        return engine

    def _table(self, info: EngineInfo) -> dict[str, Tensor]:
        """Every tensor, as the graph has it; raises EngineLoadError."""
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        if odd := {"frame", *info.inputs, *OUTPUTS} ^ set(names):
            raise self._alien(f"differ in {', '.join(sorted(odd))}")
        classes = self._most("string_to_class")[1]
        table = {name: self._tensor(name, classes) for name in names}
        wanted = {name: np.dtype(kind) for name, (_, kind) in info.inputs.items()}
        wanted |= {"frame": np.dtype("uint8"), "labels": np.dtype("uint8")}
        wanted |= {name: np.dtype("float32") for name in OUTPUTS[1:]}
        if odd := {name for name, kind in wanted.items() if table[name].kind != kind}:
            raise self._alien(f"differ in the type of {', '.join(sorted(odd))}")
        if table["frame"].most != (info.batch, *info.size, 3):
            raise self._alien(f"differ in the frame, {table['frame'].most}")
        if (most := table["text"].most[0]) < info.strings[1]:
            raise self._alien(f"differ in strings: it takes {most}, not {info.strings[1]}")
        return table

    def _alien(self, how: str) -> EngineLoadError:
        return EngineLoadError(
            f"{self._path} and its graph {how}; "
            f"`acclimate export --engine {self.name}` builds it again"
        )

    def _tensor(self, name: str, classes: int) -> Tensor:
        kind = np.dtype(self._module.nptype(self.engine.get_tensor_dtype(name)))
        if name not in OUTPUTS:
            return Tensor(self._most(name), kind)
        shape = tuple(self.engine.get_tensor_shape(name))
        return Tensor(tuple(classes if n < 0 else n for n in shape), kind)

    def _most(self, name: str) -> tuple[int, ...]:
        shape = tuple(self.engine.get_tensor_shape(name))
        if min(shape) >= 0:
            return shape
        return tuple(self.engine.get_tensor_profile_shape(name, 0)[2])

    def _configured(self) -> tuple[Any, Any]:
        """TensorRT for RTX compiles on the device: at once, and kept for the next start."""
        if not hasattr(self._module, "IRuntimeCache"):
            return None, None
        config = self.engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(self._strategy)
        eager = self._module.DynamicShapesKernelSpecializationStrategy.EAGER
        config.dynamic_shapes_kernel_specialization_strategy = eager
        compiled = config.create_runtime_cache()
        if self._compiled.is_file():
            compiled.deserialize(self._compiled.read_bytes())  # refused if it is not of this GPU
        config.set_runtime_cache(compiled)
        return config, compiled

    def _said(self) -> str:
        told = "; ".join(self._heard[-LINES:]) or "the library does not say why"
        self._heard.clear()
        return told


def load_module(name: str) -> Any:
    """`tensorrt` or `tensorrt_rtx`; raises EngineLoadError."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        extra = name.replace("_", "-")
        raise EngineLoadError(
            f"{name} does not load ({error}); pip install 'acclimate[{extra}]'"
        ) from error


def _logger(module: Any, heard: list[str]) -> Any:
    """Errors into `heard`; the rest is nobody's business while serving."""
    severity = module.ILogger.Severity

    class Log(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, level: Any, message: str) -> None:
            if level in (severity.INTERNAL_ERROR, severity.ERROR):
                heard.append(message)
                del heard[:-LINES]

    return Log()
