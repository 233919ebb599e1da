"""Which engine serves, and how it is opened."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from acclimate.errors import EngineLoadError
from acclimate.runtime.durable import sha256
from acclimate.runtime.engine import Engine, EngineInfo
from acclimate.runtime.onnxruntime_backend import OnnxRuntime


def open_engine(folder: Path, threads: int = 2, name: str = "auto") -> Engine:
    """Load and verify the engine of a graph's folder; raises EngineLoadError naming the file."""
    info, path = EngineInfo.load(folder), folder / "model.onnx"
    if not path.is_file() or sha256(path) != info.onnx_sha256:
        raise EngineLoadError(f"{path} is missing or was altered; export the engine again")
    providers = _providers(name)
    return Engine(info, OnnxRuntime(_name(providers), path, threads, providers))


def _name(providers: list[str]) -> str:
    return "onnxruntime-" + providers[0].removesuffix("ExecutionProvider").lower()


def _providers(wanted: str) -> list[str]:
    cuda = "CUDAExecutionProvider" in ort.get_available_providers() and _has_gpu()
    if wanted == "onnxruntime-cuda" and not cuda:
        raise EngineLoadError(
            "serving.engine is onnxruntime-cuda, but no CUDA device is usable; use auto"
        )
    use = cuda and wanted != "onnxruntime-cpu"
    return (["CUDAExecutionProvider"] if use else []) + ["CPUExecutionProvider"]


def _has_gpu() -> bool:
    return Path("/dev/nvidiactl").exists() or Path("/dev/nvhost-gpu").exists()
