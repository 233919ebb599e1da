"""The graph built by TensorRT or TensorRT for RTX (the same API: `trt` is either module)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.configs.vocabulary import MOST_SERVED
from acclimate.errors import ExportError
from acclimate.runtime.durable import write_atomic
from acclimate.runtime.engine import OUTPUTS, EngineInfo

USUAL = 19  # strings and classes that the kernels are chosen for
WORKSPACE = 4 << 30  # bytes that a kernel may ask for besides what it computes
LINES = 3  # of the library's own errors that are told
Say = Callable[[str], None]


@dataclass(frozen=True)
class Profile:
    """The least, the usual and the most strings and classes that an engine takes."""

    strings: tuple[int, int, int]
    classes: tuple[int, int, int]

    @classmethod
    def of(cls, info: EngineInfo, capacity: int) -> Profile:
        """Up to `capacity` strings of what the graph takes; raises ExportError."""
        least, most = info.strings
        if capacity < least:
            raise ExportError(
                f"serving.capacity is {capacity}, but this graph takes {least} strings or more; "
                "raise it"
            )
        top = min(capacity, most)
        classes = min(top, MOST_SERVED)
        return cls((least, min(max(USUAL, least), top), top), (2, min(USUAL, classes), classes))


def write_plan(
    trt: Any, source: Path, out: Path, info: EngineInfo, profile: Profile, timing: Path | None,
    say: Say, workspace: int = WORKSPACE,
) -> None:  # fmt: skip
    """Build the ONNX file `source` into the plan `out`; raises ExportError.

    Types are the file's own. `timing` is read and written again, so that a second build knows
    what the first has measured (TensorRT for RTX measures nothing); `workspace` in bytes; `say`
    gets a line now and then.
    """
    heard: list[str] = []
    builder = trt.Builder(_logger(trt, heard))
    flag = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    network = builder.create_network(1 << int(flag))
    parser = trt.OnnxParser(network, builder.logger)
    if not parser.parse_from_file(str(source)):
        raise ExportError(f"{trt.__name__} cannot read the graph: {_problems(parser, heard)}")
    _check(trt, network, info)
    config = _configured(trt, builder, info, profile, workspace)
    config.progress_monitor = _monitor(trt, say)
    if timing is not None:
        _remember(config, timing.read_bytes() if timing.is_file() else b"")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ExportError(f"{trt.__name__} cannot build the graph: {_told(heard)}")
    out.write_bytes(plan)
    if timing is not None:
        write_atomic(timing, bytes(config.get_timing_cache().serialize()))


def _configured(trt: Any, builder: Any, info: EngineInfo, profile: Profile, workspace: int) -> Any:
    config, shapes = builder.create_builder_config(), builder.create_optimization_profile()
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 that keeps ten bits is none
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    templates, width = info.inputs["text"][0][1:]
    shapes.set_shape("text", *((n, templates, width) for n in profile.strings))
    pairs = zip(profile.strings, profile.classes, strict=True)
    shapes.set_shape("string_to_class", *pairs)
    config.add_optimization_profile(shapes)
    return config


def _remember(config: Any, measured: bytes) -> None:
    """Start from what was measured; from nothing where it is of another device or torn."""
    kept = config.create_timing_cache(measured)
    if kept is None or not config.set_timing_cache(kept, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _check(trt: Any, network: Any, info: EngineInfo) -> None:
    """What goes in and comes out is what engine.json says; raises ExportError."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    wanted = {"frame": ((info.batch, *info.size, 3), "uint8"), **info.inputs}
    found = {one.name: (tuple(one.shape), trt.nptype(one.dtype).__name__) for one in inputs}
    if found != wanted or sorted(one.name for one in outputs) != sorted(OUTPUTS):
        odd = sorted(name for name in found | wanted if found.get(name) != wanted.get(name))
        raise ExportError(f"the graph and its engine.json differ in {odd}; export the graph again")


def _problems(parser: Any, heard: list[str]) -> str:
    """Each of the parser's errors with the node that it is about."""
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    told = [f"{e.node_operator()} {e.node_name()}: {e.desc()}".lstrip(" :") for e in errors]
    return "; ".join(told[:LINES]) or _told(heard)


def _told(heard: list[str]) -> str:
    return "; ".join(heard[:LINES]) or "it does not say why"


def _logger(trt: Any, heard: list[str]) -> Any:
    severity = trt.ILogger.Severity

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, level: Any, message: str) -> None:
            if level in (severity.INTERNAL_ERROR, severity.ERROR):
                heard.append(message)

    return Log()


def _monitor(trt: Any, say: Say) -> Any:
    """Every tenth part of an outermost phase is told."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._phase, self._steps, self._told = "", 1, 0

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            if not parent:
                self._phase, self._steps, self._told = name, max(1, steps), 0

        def step_complete(self, name: str, step: int) -> bool:
            tenth = 10 * (step + 1) // self._steps
            if name == self._phase and tenth > self._told:
                self._told = tenth
                say(f"{name}: {10 * tenth} %")
            return True

        def phase_finish(self, name: str) -> None:
            if name == self._phase and self._told < 10:
                self._told = 10
                say(f"{name}: 100 %")

    return Monitor()
