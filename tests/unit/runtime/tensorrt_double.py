"""A GPU and a TensorRT without either: memory and streams on the host, plans run in ONNX Runtime.

What is queued on a stream is done when somebody waits for it and not before, memory that was given
back may not be touched, a captured graph runs again what it recorded. A plan is an ONNX graph with
a profile; a context reads its inputs from the addresses it was given and writes its outputs there.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import DTypeLike, NDArray

from acclimate.errors import EngineError

MAGIC = b"PLAN"
SCRATCH = 64  # bytes of activations for each string
Work = Callable[[], None]
Profile = dict[str, list[list[int]]]


class Machine:
    """All there is on the GPU, and what has been asked of it."""

    def __init__(self) -> None:
        self.memory: dict[int, NDArray[np.uint8]] = {}
        self.gone: list[NDArray[np.uint8]] = []  # kept, so that no address comes twice
        self.queues: dict[int, list[Work]] = {}
        self.recording: dict[int, list[Work]] = {}
        self.count = dict.fromkeys(("allocate", "pin", "bind", "run", "launch", "load"), 0)
        self.graphs: list[list[Work]] = []
        self.broken: set[str] = set()  # what fails when it is next asked for

    def at(self, address: int, size: int) -> NDArray[np.uint8]:
        """Memory that is there, from an address on."""
        for start, block in self.memory.items():
            if start <= address and address + size <= start + len(block):
                return block[address - start :][:size]
        raise AssertionError(f"{size} bytes at {address:#x} are not allocated")

    def queue(self, stream: int, work: Work) -> None:
        """To the end of a stream, or into the graph that is being captured from it."""
        self.recording.get(stream, self.queues[stream]).append(work)

    def fails(self, what: str) -> None:
        if what in self.broken:
            raise EngineError(f"{what} failed: out of order")


class HostDevice:
    """See acclimate.runtime.device.Device."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._own = machine, set[int]()

    def allocate(self, size: int) -> int:
        self._machine.fails("allocate")
        self._machine.count["allocate"] += 1
        block = np.full(max(size, 1), 0xA5, np.uint8)
        address = block.ctypes.data
        self._machine.memory[address] = block
        self._own.add(address)
        return int(address)

    def free(self, address: int) -> None:
        self._own.remove(address)
        block = self._machine.memory.pop(address)
        block[:] = 0xDD
        self._machine.gone.append(block)

    def pin(self, shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
        self._machine.count["pin"] += 1
        return np.full(shape, 7, kind)

    def stream(self, urgent: bool) -> int:
        handle = 1000 + 2 * len(self._machine.queues) + urgent
        self._machine.queues[handle] = []
        return handle

    def upload(self, address: int, values: NDArray[Any], stream: int) -> None:
        assert values.flags.c_contiguous

        def copy() -> None:
            self._machine.at(address, values.nbytes)[:] = values.reshape(-1).view(np.uint8)

        self._machine.queue(stream, copy)

    def download(self, values: NDArray[Any], address: int, stream: int) -> None:
        assert values.flags.c_contiguous

        def copy() -> None:
            values.reshape(-1).view(np.uint8)[:] = self._machine.at(address, values.nbytes)

        self._machine.queue(stream, copy)

    def zero(self, address: int, size: int, stream: int) -> None:
        self._machine.queue(stream, lambda: self._machine.at(address, size).fill(0))

    def wait(self, stream: int, seconds: float) -> None:
        assert stream not in self._machine.recording, "waiting is no part of a graph"
        self._machine.fails("wait")
        todo = self._machine.queues[stream]
        while todo:
            todo.pop(0)()

    def capture(self, stream: int, work: Work) -> list[Work]:
        recorded = self._machine.recording[stream] = []
        try:
            work()
            self._machine.fails("capture")
        finally:
            del self._machine.recording[stream]
        self._machine.graphs.append(recorded)
        return recorded

    def launch(self, graph: list[Work], stream: int) -> None:
        assert graph, "this graph was dropped"
        self._machine.count["launch"] += 1
        self._machine.queues[stream] += graph

    def drop(self, graph: list[Work]) -> None:
        self._machine.graphs = [one for one in self._machine.graphs if one is not graph]
        graph.clear()

    def close(self) -> None:
        for address in list(self._own):
            self.free(address)


def plan_of(model: bytes, profile: Profile) -> bytes:
    """A plan: what a build would leave."""
    body = json.dumps(profile).encode() + b"\n" + model
    return MAGIC + hashlib.sha256(body).digest() + body


def module(machine: Machine, rtx: bool = False) -> Any:
    """As much of `tensorrt` (or `tensorrt_rtx`) as a runtime uses."""
    names: dict[str, Any] = {
        "ILogger": Logger, "ExecutionContextAllocationStrategy": Strategy,
        "nptype": lambda kind: {"FLOAT": np.float32, "UINT8": np.uint8}[kind],
        "Runtime": lambda logger: Runtime(machine, logger, rtx),
    }  # fmt: skip
    if rtx:
        names["IRuntimeCache"] = Compiled
        names["DynamicShapesKernelSpecializationStrategy"] = SimpleNamespace(EAGER="eager")
    return SimpleNamespace(**names)


class Logger:
    """ILogger: a base class whose constructor must have run."""

    class Severity(enum.Enum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self) -> None:
        self.made = True

    def log(self, level: Any, message: str) -> None:
        raise NotImplementedError


class Strategy(enum.Enum):
    STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)


class Compiled:
    """The kernels that were compiled for one GPU."""

    def __init__(self) -> None:
        self.kernels: list[str] = []

    def serialize(self) -> bytes:
        return json.dumps(self.kernels).encode()

    def deserialize(self, blob: bytes) -> bool:
        try:
            self.kernels = json.loads(blob)
        except ValueError:
            return False
        return True


class Config:
    """IRuntimeConfig."""

    dynamic_shapes_kernel_specialization_strategy = "lazy"
    strategy: Any = None
    compiled: Compiled | None = None

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> Compiled:
        return Compiled()

    def set_runtime_cache(self, compiled: Compiled) -> bool:
        self.compiled = compiled
        return True


class Runtime:
    """IRuntime."""

    def __init__(self, machine: Machine, logger: Any, rtx: bool) -> None:
        assert logger.made
        self._machine, self._logger, self._rtx = machine, logger, rtx

    def deserialize_cuda_engine(self, blob: bytes) -> Engine | None:
        self._machine.count["load"] += 1
        body = blob[36:]
        self._logger.log(Logger.Severity.INFO, "Loaded engine size: 0 MiB")
        if blob[:4] != MAGIC or hashlib.sha256(body).digest() != blob[4:36]:
            self._logger.log(Logger.Severity.ERROR, "Serialization assertion failed in parsePlan")
            return None
        head, model = body.split(b"\n", 1)
        return Engine(self._machine, self._logger, model, json.loads(head), self._rtx)


class Engine:
    """ICudaEngine."""

    def __init__(
        self, machine: Machine, logger: Any, model: bytes, profile: Profile, rtx: bool
    ) -> None:
        self.machine, self.logger, self.profile, self.rtx = machine, logger, profile, rtx
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        self.outputs = {o.name: o for o in self.session.get_outputs()}
        self._all = [*self.inputs.values(), *self.outputs.values()]
        self.num_io_tensors = len(self._all)

    def get_tensor_name(self, index: int) -> str:
        return str(self._all[index].name)

    def get_tensor_dtype(self, name: str) -> str:
        kind = (self.inputs | self.outputs)[name].type
        return {"tensor(float)": "FLOAT", "tensor(uint8)": "UINT8"}[kind]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        shape = (self.inputs | self.outputs)[name].shape
        return tuple(-1 if isinstance(n, str) else n for n in shape)

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        assert index == 0 and -1 in self.get_tensor_shape(name)
        return [tuple(shape) for shape in self.profile[name]]

    def create_runtime_config(self) -> Config:
        assert self.rtx
        return Config()

    def create_execution_context(self, how: Any) -> Context | None:
        self.machine.fails("context")
        strategy = how.strategy if isinstance(how, Config) else how
        assert strategy is Strategy.USER_MANAGED
        return Context(self, how.compiled if isinstance(how, Config) else None)


class Context:
    """IExecutionContext; memory for activations is the user's."""

    def __init__(self, engine: Engine, compiled: Compiled | None) -> None:
        self._engine, self._machine, self._compiled = engine, engine.machine, compiled
        self._address: dict[str, int] = {}
        self._shapes = {n: engine.get_tensor_shape(n) for n in engine.inputs}
        self._scratch = (0, 0)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._machine.count["bind"] += 1
        self._address[name] = address
        return name in self._engine.inputs or name in self._engine.outputs

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        fixed = self._engine.get_tensor_shape(name)
        least, _, most = self._engine.profile.get(name, [fixed] * 3)
        if not all(a <= n <= b for a, n, b in zip(least, shape, most, strict=True)):
            return self._complain(f"{name} {shape} is outside of the profile")
        self._shapes[name] = shape
        return True

    def infer_shapes(self) -> list[str]:
        return [name for name, shape in self._shapes.items() if -1 in shape]

    def update_device_memory_size_for_shapes(self) -> int:
        return SCRATCH * self._shapes["text"][0]

    def set_device_memory(self, address: int, size: int) -> None:
        self._scratch = (address, size)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        classes = self._shapes["string_to_class"][1]
        return tuple(classes if n == -1 else n for n in self._engine.get_tensor_shape(name))

    def execute_async_v3(self, stream: int) -> bool:
        if "run" in self._machine.broken or self.infer_shapes():
            return self._complain("CUDA initialization failure with error: 719")
        self._machine.count["run"] += 1
        self._compile()
        shapes, addresses, scratch = dict(self._shapes), dict(self._address), self._scratch
        needed = self.update_device_memory_size_for_shapes()
        assert scratch[1] >= needed
        results = {name: self.get_tensor_shape(name) for name in self._engine.outputs}

        def run() -> None:
            self._machine.at(scratch[0], needed)[:] = 0xEE
            feed = {n: self._read(n, addresses[n], shape) for n, shape in shapes.items()}
            names = list(results)
            for name, value in zip(names, self._engine.session.run(names, feed), strict=True):
                assert value.shape == results[name]
                raw = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
                self._machine.at(addresses[name], value.nbytes)[:] = raw

        self._machine.queue(stream, run)
        return True

    def _read(self, name: str, address: int, shape: tuple[int, ...]) -> NDArray[Any]:
        kind = np.dtype("uint8" if self._engine.get_tensor_dtype(name) == "UINT8" else "float32")
        size = int(np.prod(shape)) * kind.itemsize
        return self._machine.at(address, size).copy().view(kind).reshape(shape)

    def _compile(self) -> None:
        kernel = f"for {self._shapes['string_to_class']}"
        if self._compiled is not None and kernel not in self._compiled.kernels:
            self._compiled.kernels.append(kernel)

    def _complain(self, message: str) -> bool:
        self._engine.logger.log(Logger.Severity.ERROR, message)
        return False
