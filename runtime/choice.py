"""Which engine serves on this machine, and why: pure choices over what was found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from acclimate.errors import EngineLoadError
from acclimate.runtime.cache import Key
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.found import Found, Gpu, find, processor

CPU = "onnxruntime-cpu"
# The compute capabilities that TensorRT for RTX names in its support matrix and builds for
# (ComputeCapability in 1.7). Hopper (9.0) and the B200 (10.0) are not in it.
RTX_CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))
BF16_SINCE = (8, 0)
PORTABLE = "any"  # device of an engine that was built ahead of time, where there is no GPU


@dataclass(frozen=True)
class Kind:
    """What an engine needs besides a GPU: modules with their remedy, and a provider."""

    module: str
    remedy: str
    needs: tuple[str, ...] = ()
    provider: str | None = None


_ORT = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
# The best first: `auto` takes the first that this machine has everything for.
KINDS = {
    "tensorrt": Kind("tensorrt", "pip install 'acclimate[tensorrt]'", ("cuda.bindings",)),
    "tensorrt-rtx": Kind(
        "tensorrt_rtx", "pip install 'acclimate[tensorrt-rtx]'", ("cuda.bindings",)
    ),
    "onnxruntime-tensorrt": Kind(
        "onnxruntime", f"{_ORT} tensorrt", ("tensorrt",), "TensorrtExecutionProvider"
    ),
    "onnxruntime-cuda": Kind("onnxruntime", _ORT, (), "CUDAExecutionProvider"),
}


@dataclass(frozen=True)
class Choice:
    """An engine, its precision, and why this one."""

    engine: str
    precision: str
    reason: str


def choose(engine: str, precision: str, found: Found) -> Choice:
    """The first of `choices`; raises EngineLoadError where what was asked for is not usable."""
    return choices(engine, precision, found)[0]


def choices(engine: str, precision: str, found: Found) -> list[Choice]:
    """What may serve, the best first; a single one where an engine is asked for by its name.

    Raises EngineLoadError naming what is missing and what to do about it.
    """
    if engine != "auto":
        if lacks := missing(engine, found):
            raise EngineLoadError(f"serving.engine is {engine}, but {lacks}")
        _check_precision(precision, found)
        return [Choice(engine, _precision(engine, precision), "asked for by serving.engine")]
    return list(_automatic(precision, found))


def missing(engine: str, found: Found) -> str:
    """What `engine` lacks on this machine, with the remedy; empty if it may serve."""
    if engine == CPU:
        return ""
    kind, gpu = KINDS[engine], found.gpu
    if gpu is None:
        return "no CUDA device is usable here; check the driver with nvidia-smi, or use auto"
    for module in (kind.module, *kind.needs):
        if module not in found.libraries:
            return f"the library {module} is not installed; {kind.remedy}, or use auto"
    if kind.provider is not None and kind.provider not in found.providers:
        return f"this onnxruntime has no {kind.provider}; {kind.remedy}, or use auto"
    if engine == "tensorrt-rtx" and gpu.capability not in RTX_CAPABILITIES:
        return f"TensorRT for RTX does not support the {gpu.label}; use tensorrt or auto"
    return ""


def key_for(info: EngineInfo, choice: Choice, capacity: int, found: Found | None = None) -> Key:
    """What a built engine is filed under: the graph, the choice and what it runs on.

    Where there is no GPU, one for a GPU is built ahead of time, for any device.
    """
    found = found or find()
    device, driver = _runs_on(choice.engine, found.gpu)
    return Key(
        graph=info.onnx_sha256, base_digest=info.base_digest, size=info.size, batch=info.batch,
        capacity=min(capacity, info.strings[1]), precision=choice.precision,
        engine=choice.engine, device=device, driver=driver,
        library=_library(choice.engine, found),
    )  # fmt: skip


def _automatic(precision: str, found: Found) -> Iterator[Choice]:
    passed: list[str] = []
    for engine in KINDS:
        if lacks := missing(engine, found):
            passed.append(f"{engine}: {lacks.split(';')[0]}")
            continue
        assert found.gpu is not None
        reason = f"the first of {', '.join(KINDS)} that the {found.gpu.label} has"
        yield Choice(engine, _precision(engine, precision), reason)
        if engine == "onnxruntime-cuda" and precision == "auto":
            yield Choice(engine, "fp32", "it needs no engine to be built")
    why = "there is no CUDA device" if found.gpu is None else "; ".join(passed)
    yield Choice(CPU, _precision(CPU, precision), why or "no engine of the GPU's loads")


def _precision(engine: str, wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return "fp32" if engine == CPU else "fp16"


def _check_precision(wanted: str, found: Found) -> None:
    if wanted == "bf16" and found.gpu and found.gpu.capability < BF16_SINCE:
        raise EngineLoadError(f"serving.precision is bf16, which the {found.gpu.label} has not")


def _library(engine: str, found: Found) -> str:
    """Names and versions of all that has a say in an engine, what loads it first."""
    kind = KINDS.get(engine)
    names = (kind.module, *kind.needs) if kind else ("onnxruntime",)
    wanted = [name for name in names if name != "cuda.bindings"]
    return " + ".join(f"{name} {found.libraries.get(name, 'unknown')}" for name in wanted)


def _runs_on(engine: str, gpu: Gpu | None) -> tuple[str, str]:
    if engine == CPU:
        return processor(), ""
    return (gpu.label, gpu.driver) if gpu else (PORTABLE, PORTABLE)
