"""The engine: one ONNX graph whose adapter is an input."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from acclimate.errors import EngineError, EngineLoadError
from acclimate.runtime.durable import sha256

if TYPE_CHECKING:
    from acclimate.runtime.bundle import Bundle

OUTPUTS = ("labels", "confidence", "histogram", "embedding")
GRAPH = 4  # the version of the graph's inputs and outputs that this code serves


@dataclass(frozen=True)
class EngineInfo:
    """engine.json: `inputs` maps a name to (shape, dtype), -1 being any length.

    `strings` are the least and the most strings the graph was made for.
    """

    base_digest: str
    size: tuple[int, int]
    strings: tuple[int, int]
    inputs: dict[str, tuple[tuple[int, ...], str]]
    onnx_sha256: str
    parity: dict[str, float]

    @classmethod
    def load(cls, folder: Path) -> EngineInfo:
        """Read engine.json; raises EngineLoadError."""
        try:
            raw = json.loads((folder / "engine.json").read_text())
            if raw["graph"] != GRAPH:
                raise ValueError(f"graph {raw['graph']!r}, not {GRAPH}")
            inputs = {k: (tuple(shape), str(kind)) for k, (shape, kind) in raw["inputs"].items()}
            (height, width), (least, most) = raw["size"], raw["strings"]
            return cls(
                raw["base_digest"], (height, width), (least, most), inputs,
                raw["onnx_sha256"], raw["parity"],
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineLoadError(
                f"{folder} has no readable engine.json ({error!r}); export the engine again"
            ) from error

    def takes(self, strings: int) -> bool:
        """May a bundle bring that many strings?"""
        return self.strings[0] <= strings <= self.strings[1]


@dataclass(frozen=True)
class Result:
    """labels (H,W) uint8, confidence (3,), histogram (T,), embedding (D,) float32."""

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    histogram: NDArray[np.float32]
    embedding: NDArray[np.float32]


class Engine:
    """An ONNX Runtime session. A swap is another bundle in the next call: nothing is rebuilt."""

    def __init__(self, folder: Path, threads: int = 2, provider: str = "auto") -> None:
        """Load and verify model.onnx; raises EngineLoadError naming the file."""
        self.info = EngineInfo.load(folder)
        path = folder / "model.onnx"
        if not path.is_file() or sha256(path) != self.info.onnx_sha256:
            raise EngineLoadError(f"{path} is missing or was altered; export the engine again")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=_providers(provider))
        except Exception as error:
            raise EngineLoadError(f"{path} does not load: {error}") from error
        self.provider = str(self._session.get_providers()[0])

    def infer(self, frame: NDArray[np.uint8], bundle: Bundle) -> Result:
        """One frame (H,W,3) uint8 of the engine's size; raises EngineError otherwise."""
        return Result(*self._run(OUTPUTS, frame, bundle))

    def infer_map(
        self, frame: NDArray[np.uint8], bundle: Bundle
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """As `infer`, but labels (H,W) and the probability (H,W) of each pixel's label."""
        labels, probability = self._run(("labels", "probability"), frame, bundle)
        return labels, probability

    def _run(
        self, outputs: tuple[str, ...], frame: NDArray[np.uint8], bundle: Bundle
    ) -> list[NDArray[Any]]:
        if frame.shape != (*self.info.size, 3) or frame.dtype != np.uint8:
            raise EngineError(f"frame is {frame.dtype}{frame.shape}, not uint8{self.info.size}x3")
        arrays: list[NDArray[Any]] = self._session.run(outputs, {"frame": frame, **bundle.inputs})
        return arrays


def _providers(wanted: str) -> list[str]:
    cuda = "CUDAExecutionProvider" in ort.get_available_providers() and _has_gpu()
    if wanted == "cuda" and not cuda:
        raise EngineLoadError("serving.provider is cuda, but no CUDA device is usable; use auto")
    use = cuda and wanted != "cpu"
    return (["CUDAExecutionProvider"] if use else []) + ["CPUExecutionProvider"]


def _has_gpu() -> bool:
    return Path("/dev/nvidiactl").exists() or Path("/dev/nvhost-gpu").exists()
