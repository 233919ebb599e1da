"""A network ready to use, by name: the embedded default or a weights file with its config."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from acclimate.errors import CheckpointError
from acclimate.model.catseg import CATSeg
from acclimate.model.checkpoint import load_official, read_weights
from acclimate.model.config import CATSegConfig
from acclimate.model.v1 import CATSegV1

DEFAULT = Path(__file__).parent / "default"


def build(config: CATSegConfig) -> CATSeg:
    """An untrained network of the variant that `config` names."""
    return CATSegV1(config) if config.variant == "v1" else CATSeg(config)


@dataclass(frozen=True)
class BaseModel:
    """A read-only base: the network (eval mode, no gradients) and what belongs to it.

    `known` lists the CLIP token ids of a compact token table, None for the full one;
    `digest` is the sha256 of the weights file.
    """

    network: CATSeg
    template: str
    known: Tensor | None
    digest: str


def load_base(weights: Path | None = None) -> BaseModel:
    """Load the embedded default, or `weights` (safetensors, config.json beside it).

    Raises CheckpointError naming the file and what is wrong with it.
    """
    path = weights or DEFAULT / "weights.safetensors"
    config_path = path.with_name("config.json")
    try:
        config = json.loads(config_path.read_text())
        shape, template = CATSegConfig.from_dict(config["network"]), str(config["template"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"cannot read {config_path}: {error!r}; it must lie beside the weights"
        ) from error
    state = read_weights(path)
    known = state.pop("known_tokens", None)
    network = build(shape)
    load_official(network, state)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return BaseModel(network.eval().requires_grad_(False), template, known, digest)
