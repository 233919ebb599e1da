"""The projections an adapter touches: their names, and their weights with LoRA merged in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acclimate.errors import ConfigError
from acclimate.model.catseg import CATSeg

_PROJECTION = "clip.visual.resblocks.{block}.attn.{name}_proj.weight"


def projection_names(blocks: int) -> dict[str, str]:
    """Engine input name -> network parameter of the adapted projections of the first blocks."""
    return {
        f"visual.{block}.{name}_proj.weight": _PROJECTION.format(block=block, name=name)
        for block in range(blocks)
        for name in "qkv"
    }


def merged_projections(network: CATSeg, blocks: int) -> dict[str, Tensor]:
    """The weights the engine takes as inputs, LoRA merged into a copy; the base is not touched.

    Raises ConfigError for more blocks than the network has.
    """
    if blocks > len(network.clip.visual.resblocks):
        have = len(network.clip.visual.resblocks)
        raise ConfigError([f"adapt.blocks: {blocks}, but the image tower has {have}; use fewer"])
    modules = dict(network.named_modules())
    merged = {}
    for name, parameter in projection_names(blocks).items():
        module = modules[parameter.removesuffix(".weight")]
        merged[name] = merged_weight(module).detach().contiguous()
    return merged


def merged_weight(module: nn.Module) -> Tensor:
    """A Linear's weight (out, in), plus its LoRA delta where PEFT wrapped it."""
    base = getattr(module, "base_layer", module).weight
    if not hasattr(module, "get_delta_weight"):
        return torch.as_tensor(base)
    delta = sum(module.get_delta_weight(name) for name in module.active_adapters)  # type: ignore
    return torch.as_tensor(torch.as_tensor(base) + delta)
