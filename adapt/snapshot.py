"""A learner between two steps, as one file: a run that was killed goes on as if it had not been."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - torch.load raises it; nothing is unpickled here
from typing import Any

import torch

from acclimate.adapt.learner import Learner
from acclimate.adapt.strategies.vocalign import VocAlign
from acclimate.adapt.strategy import Strategy
from acclimate.errors import AdaptError
from acclimate.runtime.durable import write_atomic

State = dict[str, Any]


def state_of(learner: Learner) -> State:
    """Tensors, counters and the state of chance; everything that the next step depends on."""
    setup = learner.setup
    return {
        "taken": learner.taken,
        "adapter": {name: value.detach().clone() for name, value in learner.adapter.items()},
        "optimiser": setup.optimiser.state_dict(),
        "scaler": setup.scaler.state_dict(),
        "generator": setup.generator.get_state(),
        "strategy": _strategy_state(learner.strategy),
        "watch": learner.watch.state(),
    }


def restore(learner: Learner, state: State) -> None:
    """Put `state_of` back into a learner that was made in the same way."""
    setup = learner.setup
    with torch.no_grad():
        for name, value in learner.adapter.items():
            value.copy_(state["adapter"][name])
    setup.optimiser.load_state_dict(state["optimiser"])
    if setup.scaler.is_enabled():
        setup.scaler.load_state_dict(state["scaler"])
    setup.generator.set_state(state["generator"])
    if isinstance(learner.strategy, VocAlign):
        learner.strategy.taken = state["strategy"]["taken"]
        _copy(learner.strategy.teacher.tensors, state["strategy"]["teacher"])
    learner.watch.restore(state["watch"])
    learner.taken = state["taken"]


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Whole or not at all; raises OSError."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_atomic(path, content.getvalue())


def load(path: Path) -> State:
    """What `save` wrote, on the CPU; raises AdaptError for anything else."""
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
        return dict(state)
    except (OSError, RuntimeError, EOFError, ValueError, TypeError, UnpicklingError,
            zipfile.BadZipFile) as error:  # fmt: skip
        raise AdaptError(f"cannot go on from {path}: {error}; delete it to begin anew") from error


def _strategy_state(strategy: Strategy) -> State:
    if isinstance(strategy, VocAlign):
        return {"taken": strategy.taken, "teacher": dict(strategy.teacher.tensors)}
    return {}


def _copy(mine: dict[str, torch.Tensor], stored: Mapping[str, torch.Tensor]) -> None:
    for name, value in mine.items():
        value.copy_(stored[name])
