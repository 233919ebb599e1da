"""The engine: one exported graph whose adapter is an input, served by one of several libraries.

`acclimate.runtime.engines` opens one; here is what all of them share.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from acclimate.errors import EngineError, EngineLoadError, UntrustedBundle
from acclimate.runtime import trust

if TYPE_CHECKING:
    from acclimate.runtime.bundle import Arrays, Bundle

OUTPUTS = ("labels", "confidence", "histogram", "embedding", "probability")
GRAPH = 8  # the version of the graph's inputs and outputs that this code serves
Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class EngineInfo:
    """engine.json: `inputs` maps a name to (shape, dtype), -1 being any length.

    `strings` are the least and the most strings the graph was made for, `batch` the frames it takes
    at a time, each of `size` (H, W).
    """

    base_digest: str
    size: tuple[int, int]
    batch: int
    sliding: bool
    strings: tuple[int, int]
    inputs: dict[str, tuple[tuple[int, ...], str]]
    onnx_sha256: str
    parity: dict[str, float]

    @classmethod
    def load(cls, folder: Path) -> EngineInfo:
        """Read engine.json; raises EngineLoadError."""
        try:
            content = (folder / "engine.json").read_bytes()
            trust.verify(folder / "engine.json", content)
            raw = json.loads(content)
            if raw["graph"] != GRAPH:
                raise ValueError(f"graph {raw['graph']!r}, not {GRAPH}")
            inputs = {k: (tuple(shape), str(kind)) for k, (shape, kind) in raw["inputs"].items()}
            (height, width), (least, most) = raw["size"], raw["strings"]
            return cls(
                raw["base_digest"], (height, width), int(raw["batch"]), bool(raw["sliding"]),
                (least, most), inputs, raw["onnx_sha256"], raw["parity"],
            )  # fmt: skip
        except UntrustedBundle as error:
            raise EngineLoadError(f"{error}; export the engine again") from error
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


class Staged(Protocol):
    """A bundle's inputs where the library reads them, with buffers for what goes in and out."""

    def run(self, frames: Sequence[Frame], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """As many frames (H,W,3) as the engine's batch N -> copies of these outputs (N, ...)."""


class Backend(Protocol):
    """A library that runs the graph; raises EngineError kinds."""

    name: str

    def stage(self, inputs: Arrays, spare: Staged | None) -> Staged:
        """Bring inputs to the device, into the buffers of `spare` where it has some.

        May be called from another thread while something else that was staged runs.
        """

    def twin(self) -> Backend:
        """Another one on the same weights, to run beside this one at a lower priority."""

    def close(self) -> None:
        """Give back what it holds."""


class Engine:
    """A loaded engine. A swap is another bundle in the next call: nothing is rebuilt.

    Bundles lie in two sets of buffers: one serves, and `stage` fills the other while it does.
    One thread infers; another may stage. `precision` and `reason` say what was chosen and why.
    """

    def __init__(
        self, info: EngineInfo, backend: Backend, precision: str = "fp32", reason: str = ""
    ) -> None:
        self.info, self.name, self._backend = info, backend.name, backend
        self.precision, self.reason = precision, reason
        self._serving: tuple[Bundle, Staged] | None = None
        self._spare: tuple[Bundle, Staged] | None = None
        self._lock = threading.Lock()

    def warm_up(self, bundle: Bundle) -> None:
        """Infer once, so that the first frame finds everything allocated and compiled."""
        self.infer(np.zeros((*self.info.size, 3), np.uint8), bundle)

    def stage(self, bundle: Bundle) -> None:
        """Make a bundle ready beside the one that serves: its first `infer` copies nothing."""
        with self._lock:
            self._fill(bundle)

    def infer(self, frame: Frame, bundle: Bundle) -> Result:
        """One frame (H,W,3) uint8 of the engine's size; raises EngineError otherwise."""
        return self.infer_batch([frame], bundle)[0]

    def infer_batch(self, frames: Sequence[Frame], bundle: Bundle) -> list[Result]:
        """As `infer`, for up to `info.batch` frames at a time (of several cameras)."""
        rows = self._run(OUTPUTS[:4], frames, bundle)
        return [Result(*row) for row in zip(*rows, strict=True)][: len(frames)]

    def infer_map(
        self, frame: Frame, bundle: Bundle
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """As `infer`, but labels (H,W) and the probability (H,W) of each pixel's label."""
        labels, probability = self._run(("labels", "probability"), [frame], bundle)
        return labels[0], probability[0]

    def twin(self) -> Engine:
        """Another engine on the same weights, to try a bundle on while this one serves."""
        return Engine(self.info, self._backend.twin(), self.precision, self.reason)

    def close(self) -> None:
        """Give back the device's memory; the engine is of no use afterwards."""
        self._serving = self._spare = None
        self._backend.close()

    def _run(
        self, outputs: Sequence[str], frames: Sequence[Frame], bundle: Bundle
    ) -> list[NDArray[Any]]:
        for frame in frames:
            if frame.shape != (*self.info.size, 3) or frame.dtype != np.uint8:
                raise EngineError(
                    f"frame is {frame.dtype}{frame.shape}, not uint8{self.info.size}x3"
                )
        missing = self.info.batch - len(frames)
        if missing < 0 or not frames:
            raise EngineError(f"{len(frames)} frames; this engine takes 1 to {self.info.batch}")
        batch = [*frames, *[frames[-1]] * missing]
        return self._staged(bundle).run(batch, outputs)

    def _staged(self, bundle: Bundle) -> Staged:
        if self._serving is None or self._serving[0] is not bundle:
            with self._lock:
                self._fill(bundle)
                self._serving, self._spare = self._spare, self._serving
        assert self._serving is not None
        return self._serving[1]

    def _fill(self, bundle: Bundle) -> None:
        """The bundle into the set of buffers that does not serve."""
        if self._spare is None or self._spare[0] is not bundle:
            buffers = self._spare[1] if self._spare else None
            self._spare = None  # torn until it is whole again
            self._spare = bundle, self._backend.stage(bundle.inputs, buffers)
