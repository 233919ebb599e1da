"""Any engine against what fp32 torch saw of the same frames; needs no torch itself.

The export leaves `reference.safetensors` beside the graph: the frames, every other input, what
torch made of them, how clear each pixel was and, where it is known, what is really there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from acclimate.errors import EngineLoadError, ParityError
from acclimate.runtime.bundle import Arrays, Bundle
from acclimate.runtime.durable import sha256
from acclimate.runtime.engine import Engine, EngineInfo
from acclimate.runtime.evaluate import confusion, mean_iou

REFERENCE = "reference.safetensors"
CLEAR = 0.1  # the two best classes of a pixel are so far apart that no engine may mix them up
UNKNOWN = 255

# The most that each number of `measure` may be. fp16 and int8 leave room for other weights: the
# embedded default stays 10 times below in fp16, 6 times in bf16, 5 in int8 (test_precision.py).
TOLERANCES = {
    "fp32": {
        "probability": 1e-3, "confidence": 1e-3, "embedding": 1e-3, "labels": 1e-3,
        "clear_labels": 0.0, "miou": 0.02,
    },
    "fp16": {
        "probability": 0.03, "confidence": 2e-3, "embedding": 1e-3, "labels": 0.02,
        "clear_labels": 1e-4, "miou": 0.1,
    },
    "bf16": {
        "probability": 0.2, "confidence": 5e-3, "embedding": 2e-3, "labels": 0.02,
        "clear_labels": 1e-3, "miou": 0.2,
    },
    "int8": {
        "probability": 0.2, "confidence": 5e-3, "embedding": 2e-3, "labels": 0.02,
        "clear_labels": 1e-3, "miou": 0.2,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """K frames (K,H,W,3) uint8, the other inputs, and what fp32 torch sees.

    labels (K,H,W) uint8, probability (K,H,W) of each label, confidence (K,3), histogram (K,T),
    embedding (K,D), margin (K,H,W) = best minus second-best class probability, truth (K,H,W)
    uint8 class indices, UNKNOWN where nobody knows.
    """

    frames: NDArray[np.uint8]
    inputs: Arrays
    labels: NDArray[np.uint8]
    probability: NDArray[np.float32]
    confidence: NDArray[np.float32]
    histogram: NDArray[np.float32]
    embedding: NDArray[np.float32]
    margin: NDArray[np.float32]
    truth: NDArray[np.uint8]

    def save(self, path: Path) -> None:
        """All in one file, every array under its name; raises OSError."""
        arrays = {**vars(self), **self.inputs}
        del arrays["inputs"]
        save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, path)

    @classmethod
    def load(cls, path: Path, digest: str | None) -> Reference:
        """Read it; raises EngineLoadError where it is not the file of this sha256."""
        remedy = "export the graph again, where torch is installed: `acclimate export`"
        if not path.is_file() or sha256(path) != digest:
            raise EngineLoadError(f"{path} is missing or was altered; {remedy}")
        try:
            arrays = load_file(path)
            own = {name: arrays.pop(name) for name in cls.__annotations__ if name != "inputs"}
            return cls(inputs=arrays, **own)
        except (OSError, SafetensorError, KeyError) as error:
            raise EngineLoadError(f"{path} is unreadable ({error}); {remedy}") from error


def reference_of(folder: Path) -> Reference:
    """What is kept beside a graph; raises EngineLoadError."""
    EngineInfo.load(folder)
    record = json.loads((folder / "engine.json").read_text())
    return Reference.load(folder / REFERENCE, record.get("reference_sha256"))


def has_reference(folder: Path) -> bool:
    """Can engines of this graph be held against torch?"""
    try:
        return bool(reference_of(folder).frames.size)
    except EngineLoadError:
        return False


def measure(engine: Engine, reference: Reference) -> dict[str, float]:
    """How far an engine is from the reference; 0 is no difference at all.

    Greatest differences of "probability", "confidence", "embedding"; shares of pixels labelled
    otherwise, of all ("labels") and of the clear ones ("clear_labels"); "miou": points of mIoU,
    only where something is known of the truth.
    """
    none = np.empty(0, np.uint8)
    bundle = Bundle("reference", {}, reference.inputs, none, none)
    results = [engine.infer(frame, bundle) for frame in reference.frames]
    chances = [engine.infer_map(frame, bundle)[1] for frame in reference.frames]
    labels = np.stack([one.labels for one in results])
    wrong, clear = labels != reference.labels, reference.margin >= CLEAR
    found = {
        "probability": _apart(np.stack(chances), reference.probability),
        "confidence": _apart(np.stack([r.confidence for r in results]), reference.confidence),
        "embedding": _apart(np.stack([r.embedding for r in results]), reference.embedding),
        "labels": float(wrong.mean()),
        "clear_labels": float(wrong[clear].mean()) if clear.any() else 0.0,
    }
    classes = bundle.classes
    if (reference.truth < classes).any():
        a, b = (mean_iou(confusion(reference.truth, one, classes))
                for one in (labels, reference.labels))  # fmt: skip
        found["miou"] = abs(a - b)
    return found


def check(parity: Mapping[str, float], precision: str) -> None:
    """Raise ParityError naming the first number that is outside its precision's tolerance."""
    for name, most in TOLERANCES[precision].items():
        if name in parity and not parity[name] <= most:  # NaN is no parity either
            raise ParityError(parity[name], most, f"{precision} engine: {name}")


def summary(parity: Mapping[str, float]) -> str:
    """`measure`'s numbers in a sentence."""
    told = (
        f"probability within {parity['probability']:.1e}, {100 * parity['labels']:.2f} % of labels "
        f"differ, {100 * parity['clear_labels']:.2f} % of the clear ones"
    )
    return told + (f", mIoU by {parity['miou']:.2f} points" if "miou" in parity else "")


def _apart(got: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.abs(got - expected).max())
