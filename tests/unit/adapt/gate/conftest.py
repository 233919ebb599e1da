"""An engine whose mistakes are known: it reads the class off the first channel, then errs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from acclimate.configs.gate import GateConfig
from acclimate.model.colour import UNCHANGED
from acclimate.runtime.bundle import Bundle

HEIGHT, WIDTH, CLASSES = 48, 64, 3


def contender(name: str = "x", **inputs: Any) -> Bundle:
    """A bundle that errs on the share `error` of pixels, sure by `sure`, on the share `elsewhere`
    in other colours than its own; `always` one class; `merge` the last two."""
    arrays = {key: np.array([value], np.float32) for key, value in inputs.items()}
    arrays = {"error": np.array([0.1], np.float32), "colour": UNCHANGED, **arrays}
    arrays["string_to_class"] = np.eye(CLASSES, dtype=np.float32)
    frames = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
    return Bundle(name, {"id": name, "kind": "adapter"}, arrays, frames, frames[..., 0])


@dataclass
class Erring:
    """Stands in for an Engine; errors are new in each view, and drawn from what it shows."""

    asked: list[str] = field(default_factory=list)

    def infer_map(self, frame: np.ndarray, bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append(bundle.id)
        moved = np.abs(bundle.inputs["colour"] - UNCHANGED).max()
        by = "elsewhere" if moved > 0 and "elsewhere" in bundle.inputs else "error"
        error, sure = (float(bundle.inputs.get(name, [0.95])[0]) for name in (by, "sure"))
        digest = hashlib.sha256(frame.tobytes() + bundle.inputs[by].tobytes()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        truth = frame[..., 0] // 50
        moved = (truth + rng.integers(1, CLASSES, truth.shape)) % CLASSES
        labels = np.where(rng.random(truth.shape) < error, moved, truth).astype(np.uint8)
        if "merge" in bundle.inputs:
            labels[labels == 2] = 1
        if "always" in bundle.inputs:
            labels = np.full_like(labels, int(bundle.inputs["always"][0]))
        return labels, np.full(labels.shape, sure, np.float32)


@pytest.fixture
def engine() -> Erring:
    return Erring()


@pytest.fixture(scope="session")
def frames() -> list[np.ndarray]:
    """Twelve frames of blocks of three classes."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, CLASSES, (12, HEIGHT // 8, WIDTH // 8)).repeat(8, 1).repeat(8, 2)
    return list((np.stack([blocks] * 3, -1) * 50 + 25).astype(np.uint8))


@pytest.fixture(scope="session")
def truth(frames: list[np.ndarray]) -> np.ndarray:
    return np.stack(frames)[..., 0] // 50


@pytest.fixture
def valid() -> np.ndarray:
    return np.ones((HEIGHT, WIDTH), bool)


@pytest.fixture
def gate() -> GateConfig:
    return GateConfig(min_agreement=0.8, max_histogram_js=0.05)
