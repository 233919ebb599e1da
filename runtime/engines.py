"""Which engine serves, and how it is opened: the choice, the file, the library, its first frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from acclimate.configs.serving import ServingConfig
from acclimate.errors import EngineError, EngineLoadError
from acclimate.runtime import cache
from acclimate.runtime.choice import CPU, PORTABLE, Choice, choices, key_for
from acclimate.runtime.device import Cuda
from acclimate.runtime.durable import sha256
from acclimate.runtime.engine import Backend, Engine, EngineInfo
from acclimate.runtime.found import Found, find
from acclimate.runtime.onnxruntime_backend import OnnxRuntime
from acclimate.runtime.plan import load_module
from acclimate.runtime.providers import providers_for
from acclimate.runtime.tensorrt_backend import TensorRT

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
TAKES_ALL = (CPU, "onnxruntime-cuda")  # as many strings as the graph, whatever the capacity
Prove = Callable[[Engine], object]


def open_engine(
    folder: Path, threads: int = 2, name: str = "auto", precision: str = "auto",
    capacity: int = ServingConfig.capacity, prove: Prove = lambda engine: None,
) -> Engine:  # fmt: skip
    """Load and verify the engine of a graph's folder that is to serve on this machine.

    `prove` is what it must do before it counts as loaded (the first frame). An engine asked for
    by its name serves or raises EngineLoadError; `auto` goes on to the next one and says so in
    the engine's `reason`.
    """
    graph = _Graph(folder, EngineInfo.load(folder), threads, find())
    failed: list[str] = []
    for choice in (possible := choices(name, precision, graph.found)):
        told = replace(choice, reason="; ".join([choice.reason, *failed]))
        try:
            return _proven(graph.open(told, capacity), prove)
        except EngineError as error:
            if choice is possible[-1]:
                raise
            failed.append(f"{choice.engine} in {choice.precision} does not serve: {error}")
    raise AssertionError("there is always one to try")


def open_entry(folder: Path, entry: cache.Entry, threads: int = 2) -> Engine:
    """Open a built engine whatever its parity, to measure it; raises EngineLoadError."""
    graph = _Graph(folder, EngineInfo.load(folder), threads, find())
    return graph.load(entry.key, entry.path, "to be measured")


def built(folder: Path, key: cache.Key) -> cache.Entry:
    """The verified entry of this key, its parity measured; raises EngineLoadError.

    TensorRT for RTX's engines are portable: one that was built where there is no GPU will do.
    """
    try:
        entry = cache.read(cache.find(folder, key))
    except EngineLoadError:
        portable = replace(key, device=PORTABLE, driver=PORTABLE)
        there = (cache.cache_of(folder) / portable.digest).is_dir()
        if key.engine != "tensorrt-rtx" or not there:
            raise
        entry = cache.read(cache.find(folder, portable))
    if entry.parity is None:
        raise EngineLoadError(
            f"{entry.folder} was never held against the model on this device; "
            "`acclimate engines verify` does it"
        )
    return entry


@dataclass(frozen=True)
class _Graph:
    """What every engine of one graph on this machine has in common."""

    folder: Path
    info: EngineInfo
    threads: int
    found: Found

    def open(self, choice: Choice, capacity: int) -> Engine:
        """The choice's own file, verified, in its library; raises EngineLoadError."""
        key = key_for(self.info, choice, capacity, self.found)
        if choice.engine in MODULES or choice.precision != "fp32":
            return self.load(key, built(self.folder, key).path, choice.reason)
        path = self.folder / cache.ONNX
        if not path.is_file() or sha256(path) != self.info.onnx_sha256:
            raise EngineLoadError(f"{path} is missing or was altered; export the engine again")
        return self.load(key, path, choice.reason)

    def load(self, key: cache.Key, path: Path, reason: str) -> Engine:
        """A file in the library that the key names; raises EngineLoadError."""
        info = self.info if key.engine in TAKES_ALL else _narrowed(self.info, key.capacity)
        backend: Backend
        if key.engine in MODULES:
            module = load_module(MODULES[key.engine])
            backend = TensorRT(key.engine, module, path, info, Cuda)
        else:
            own = cache.cache_of(self.folder)
            providers = providers_for(key.engine, info, own, key.digest)
            gpu = Cuda if key.engine != CPU and "cuda.bindings" in self.found.libraries else None
            backend = OnnxRuntime(key.engine, path, self.threads, providers, gpu)
        return Engine(info, backend, key.precision, reason)


def _proven(engine: Engine, prove: Prove) -> Engine:
    try:
        prove(engine)
    except BaseException:  # only to clean up
        engine.close()
        raise
    return engine


def _narrowed(info: EngineInfo, capacity: int) -> EngineInfo:
    least, most = info.strings
    if capacity < least:
        raise EngineLoadError(
            f"serving.capacity is {capacity}, but this graph takes {least} strings or more"
        )
    return replace(info, strings=(least, min(most, capacity)))
