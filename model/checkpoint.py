"""Official CAT-Seg state dicts in and out, strict and without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from acclimate.errors import CheckpointError
from acclimate.model.catseg import CATSeg
from acclimate.model.official import constants, layout


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; raises CheckpointError if it is missing or torn."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot read weights {path}: {error}; copy the file again"
        ) from error


def load_official(network: CATSeg, state: Mapping[str, Tensor]) -> None:
    """Load official tensors (any float dtype, upcast) into `network`, v2's or v1's.

    Raises CheckpointError that names every missing, extra and misshapen key.
    """
    table, own, fixed = layout(network), network.state_dict(), constants(network)
    wanted = {key: _packed_shape(own, names) for key, names in table.items()}
    wanted |= {key: tuple(value.shape) for key, value in fixed.items() if key in state}
    problems = [f"missing {key}" for key in sorted(wanted.keys() - state.keys())]
    problems += [f"unexpected {key}" for key in sorted(state.keys() - wanted.keys())]
    problems += [
        f"{key}: file has {tuple(state[key].shape)}, network needs {wanted[key]}"
        for key in sorted(wanted.keys() & state.keys())
        if tuple(state[key].shape) != wanted[key]
    ]
    if problems:
        raise CheckpointError("weights do not fit this network:\n  " + "\n  ".join(problems))
    ours: dict[str, Tensor] = {}
    for key, names in table.items():
        parts = [state[key]] if len(names) == 1 else state[key].chunk(len(names))
        ours |= dict(zip(names, parts, strict=True))
    network.load_state_dict(ours)


def to_official(network: CATSeg) -> dict[str, Tensor]:
    """The network's tensors under the official names, with the constants these files hold."""
    own = network.state_dict()
    state = {
        key: (own[names[0]] if len(names) == 1 else torch.cat([own[n] for n in names])).contiguous()
        for key, names in layout(network).items()
    }
    return state | {key: value.contiguous() for key, value in constants(network).items()}


def _packed_shape(own: Mapping[str, Tensor], names: list[str]) -> tuple[int, ...]:
    shape = own[names[0]].shape
    return (sum(own[name].shape[0] for name in names), *shape[1:]) if shape else ()
