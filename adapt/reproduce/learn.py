"""The training of one row: step by step, kept on disk so that a kill costs a minute at most."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from acclimate.adapt.compute import compute_for, placed
from acclimate.adapt.learner import Learner
from acclimate.adapt.lora import WEIGHTS, adapter_for, copy_tensors, save_adapter
from acclimate.adapt.reproduce.pictures import draw, fitted
from acclimate.adapt.snapshot import load, restore, save, state_of
from acclimate.adapt.temperature import FRAMES, temperature_for
from acclimate.adapt.words import Words
from acclimate.configs.reproduction import Recipe
from acclimate.model.load import BaseModel
from acclimate.runtime.durable import commit_folder, fresh_folder
from acclimate.runtime.evaluate import read_image
from acclimate.runtime.progress import Progress

STATE, ADAPTER, PAUSE = "training.pt", "adapter", 60.0
LOSSES = 100


def learned(
    base: BaseModel, words: Words, recipe: Recipe, paths: Sequence[Path], folder: Path, title: str
) -> PeftModel:
    """The base with the row's adapter, trained where `folder` holds none yet.

    `recipe.settings` are the row's own. The same tensors to the bit on a CPU, however often the
    process was killed and started again. Raises AdaptError kinds, SourceError, CorruptBundle.
    """
    torch.manual_seed(recipe.settings.seed)
    model = adapter_for(base.network, recipe.settings)
    if (folder / ADAPTER / WEIGHTS).is_file():
        copy_tensors(model, folder / ADAPTER)
        return model
    words.temperature = _temperature(base, words, recipe, paths)
    compute = compute_for(recipe.settings)
    with placed(model, words, compute.device):
        learner = Learner(compute, model, words, recipe.settings, recipe.settings.seed)
        _train(learner, recipe, paths, folder / STATE, title)
    temporary = fresh_folder(folder / f"{ADAPTER}.tmp")
    save_adapter(model, temporary)
    commit_folder(temporary, folder / ADAPTER)
    return model


def _train(learner: Learner, recipe: Recipe, paths: Sequence[Path], file: Path, title: str) -> None:
    """All steps that are left, from `file` if it is there; it is written now and then."""
    settings, told = recipe.settings, _resumed(learner, file)
    progress = Progress(f"steps of {title}", settings.steps, learner.taken)
    written = began = time.monotonic()
    while learner.taken < settings.steps:
        batch = draw(paths, recipe, learner.taken, settings.seed, learner.generator)
        told["losses"].append(learner.step(batch.to(learner.compute.device)).loss)
        progress.step()
        now = time.monotonic()
        if now - written >= PAUSE or learner.taken == settings.steps:
            told["losses"] = told["losses"][-LOSSES:]
            save(file, told | {"seconds": told["seconds"] + now - began, **state_of(learner)})
            written = now


def _resumed(learner: Learner, file: Path) -> dict[str, Any]:
    """The last losses and the seconds spent, with the learner as it was then."""
    if not file.exists():
        return {"losses": [], "seconds": 0.0}
    state = load(file)
    restore(learner, state)
    print(f"{file} goes on from step {learner.taken}", file=sys.stderr)
    return {"losses": state["losses"], "seconds": state["seconds"]}


@torch.no_grad()
def _temperature(base: BaseModel, words: Words, recipe: Recipe, paths: Sequence[Path]) -> float:
    some = paths[:: max(1, len(paths) // FRAMES)][:FRAMES]
    frames = [] if base.head == "softmax" else [fitted(read_image(path), recipe) for path in some]
    return temperature_for(base, words.embed(), words.owner, frames, recipe.settings)


def spent(folder: Path) -> dict[str, Any]:
    """Steps, seconds and mean of the last losses of a row that was trained."""
    state = load(folder / STATE)
    losses = state["losses"]
    return {
        "steps": state["taken"], "seconds": round(state["seconds"], 1),
        "last_loss": sum(losses) / max(1, len(losses)),
    }  # fmt: skip
