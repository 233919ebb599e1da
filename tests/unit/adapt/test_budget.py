"""What a step will take is foretold, and settings are changed until it fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from acclimate.adapt import budget
from acclimate.adapt.batch import Batch, Frames, to_images
from acclimate.adapt.budget import MIB, SCRATCH, SLACK, cheaper, fitted
from acclimate.adapt.compute import compute_for
from acclimate.adapt.learner import Learner
from acclimate.adapt.lora import network_of
from acclimate.adapt.rehearsal import Alive, Shapes, shapes_of, step_bytes
from acclimate.adapt.source import Scenes
from acclimate.adapt.strategy import Setup
from acclimate.adapt.train import train_round
from acclimate.configs.adapt import AdaptConfig, StrategyName
from acclimate.errors import OutOfMemory

Make = Callable[..., Setup]
CPU = torch.device("cpu")
FEW: dict[str, Any] = {
    "alignment": "teacher",
    "top_k": 2,
    "keep_safety": False,
    "mirror": False,
    "batch": 4,
}


def test_what_lives_is_counted_and_what_is_gone_is_not() -> None:
    with Alive() as alive:
        a = torch.zeros(1000)  # 4000 bytes
        b = a.view(10, 100)  # nothing new
        c = a + 1
        del c
        d = a * b.flatten()
    assert (alive.peak, alive.now) == (8000, 8000)
    del d
    assert alive.now == 4000


def foretold(setup: Setup) -> int:
    shapes = shapes_of(setup.words, (64, 64))
    return step_bytes(network_of(setup.model).config, setup.settings, shapes)


def taken(setup: Setup, frames: Frames) -> int:
    """Most bytes at once in a whole step with real tensors, beside scenes all of one class."""
    scenes = Scenes(np.stack(frames), np.zeros((len(frames), 64, 64), np.uint8))
    learner = Learner(
        compute_for(setup.settings), setup.model, setup.words, setup.settings, 0, scenes=scenes
    )
    images = to_images(frames[: learner.settings.batch])
    batch = Batch(images, torch.ones(len(images), 64, 64, dtype=torch.bool))
    with Alive() as alive:
        learner.step(batch)
    return alive.peak


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("keys", [
    {"jitter": 0.0, "hue": 0.0, "replay": 0}, FEW | {"replay": 0}, FEW | {"replay": 1},
], ids=["both", "teacher", "replay"])  # fmt: skip
@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_foretold_is_what_a_real_step_takes(
    make: Make, frames: Frames, variant: str, keys: dict[str, Any], checkpointing: bool
) -> None:
    setup = make(variant, checkpointing=checkpointing, **keys)
    assert foretold(setup) == pytest.approx(taken(setup, frames), rel=0.1)


@pytest.mark.parametrize("strategy", [s for s in get_args(StrategyName) if s != "frozen"])
def test_no_strategy_takes_more(make: Make, frames: Frames, strategy: StrategyName) -> None:
    """Tent, which prunes no class, among them."""
    setup = make("v2", **FEW, replay=0, strategy=strategy)
    assert foretold(setup) >= 0.95 * taken(setup, frames)


def by_pixels(_: Any, settings: AdaptConfig, shapes: Shapes) -> int:
    """A step that takes as much as it sees, and half of it with checkpoints."""
    seen = settings.batch * shapes.pixels[0] * shapes.pixels[1]
    return seen // (1 + settings.checkpointing) * 1000


def test_the_first_that_fits_is_taken_and_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 crops of 256: 262 MB, 131 with checkpoints; one of 192: 18."""
    monkeypatch.setattr(budget, "held", lambda _: 100 * MIB)
    monkeypatch.setattr(budget, "step_bytes", by_pixels)
    roomy = make("v2", batch=4, crop=256, memory_mb=1e6)
    assert fitted(roomy.settings, roomy.words, (300, 300), CPU) == (roomy.settings, "")
    assert [(one.checkpointing, one.batch, one.crop) for one in cheaper(roomy.settings, 64)] == [
        (True, 4, 256), (True, 2, 256), (True, 1, 256), (True, 1, 192), (True, 1, 144),
        (True, 1, 108), (True, 1, 81), (True, 1, 64),
    ]  # fmt: skip
    room = 100 + SCRATCH / MIB + SLACK * 192 * 192 / 2 * 1000 / MIB
    tight = replace(roomy.settings, memory_mb=room + 0.01)
    found, told = fitted(tight, roomy.words, (300, 300), CPU)
    assert found == replace(tight, checkpointing=True, batch=1, replay=0, crop=192)
    assert told.endswith(
        "adapt.checkpointing False -> True, adapt.batch 4 -> 1, adapt.replay 1 -> 0, "
        "adapt.crop 256 -> 192"
    )


def test_what_never_fits_names_what_it_takes(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "step_bytes", by_pixels)
    setup = make("v2", memory_mb=1.0)
    with pytest.raises(OutOfMemory, match=r"needs \d+ MiB at least, adapt\.memory_mb allows 1"):
        fitted(setup.settings, setup.words, (64, 64), CPU)


def test_a_round_says_what_it_changed(
    make: Make, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames of 64 px: two of them 8.2 MB by the simple rule, 4.1 with checkpoints."""
    monkeypatch.setattr(budget, "held", lambda _: 0)
    monkeypatch.setattr(budget, "step_bytes", by_pixels)
    tight = make("v2", batch=2, memory_mb=(SCRATCH + SLACK * 6e6) / MIB)
    trained = train_round(tight.model, tight.words, frames, tight.settings, 0, lambda *_: None)
    assert trained.steps == 3
    assert trained.to_dict()["fitted"].endswith(": adapt.checkpointing False -> True")


def test_what_the_process_holds_is_what_linux_says() -> None:
    lines = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(x.split()[1]) for x in lines if x.startswith("VmRSS")) * 1024
    assert budget.held(CPU) == pytest.approx(resident, rel=0.05)
