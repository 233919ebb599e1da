"""Official CAT-Seg v2 state dicts in and out, strict and without pickle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from acclimate.errors import CheckpointError
from acclimate.model.catseg import CATSeg

_PREFIX = "sem_seg_head.predictor."
_TEXT = ("token_embedding", "positional_embedding", "ln_final", "text_projection")
_PROJECTIONS = ("q_proj", "k_proj", "v_proj")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; raises CheckpointError if it is missing or torn."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot read weights {path}: {error}; copy the file again"
        ) from error


def load_official(network: CATSeg, state: Mapping[str, Tensor]) -> None:
    """Load official tensors (any float dtype, upcast) into `network`.

    Raises CheckpointError that names every missing, extra and misshapen key.
    """
    ours = {}
    for key, value in state.items():
        if key.endswith("attn.in_proj_bias"):
            stem = _ours(key).removesuffix("in_proj_bias")
            for name, part in zip(_PROJECTIONS, value.chunk(3), strict=True):
                ours[f"{stem}{name}.bias"] = part.float()
        elif not key.endswith("block_2.attn_mask"):
            ours[_ours(key)] = value.float()
    _load_strict(network, ours)


def to_official(network: CATSeg) -> dict[str, Tensor]:
    """The network's tensors under the official names, attention masks included."""
    state = network.state_dict()
    official = {}
    for key, value in state.items():
        if re.search(r"clip\..*attn\.[qkv]_proj\.bias$", key):
            if key.endswith("q_proj.bias"):
                biases = [state[key.replace("q_proj", name)] for name in _PROJECTIONS]
                official[_theirs(key.replace("q_proj.bias", "in_proj_bias"))] = torch.cat(biases)
        else:
            official[_theirs(key)] = value.contiguous()
    for key, buffer in network.named_buffers():
        if key.endswith("block_2.attn_mask"):
            official[_theirs(key)] = buffer.contiguous()
    return official


def _load_strict(network: CATSeg, state: Mapping[str, Tensor]) -> None:
    own = network.state_dict()
    problems = [f"missing {_theirs(key)}" for key in sorted(own.keys() - state.keys())]
    problems += [f"unexpected {key}" for key in sorted(state.keys() - own.keys())]
    problems += [
        f"{_theirs(key)}: file has {tuple(state[key].shape)}, network needs {tuple(own[key].shape)}"
        for key in sorted(own.keys() & state.keys())
        if own[key].shape != state[key].shape
    ]
    if problems:
        raise CheckpointError("weights do not fit this network:\n  " + "\n  ".join(problems))
    network.load_state_dict(dict(state))


def _ours(key: str) -> str:
    key = re.sub(r"attn\.([qkv])_proj_weight$", r"attn.\1_proj.weight", key)
    key = key.removeprefix(_PREFIX)
    if key.startswith("clip_model."):
        inner = key.removeprefix("clip_model.")
        if inner.startswith(_TEXT):
            return f"clip.text.{inner}"
        inner = re.sub(r"^transformer\.resblocks", "text.resblocks", inner)
        return "clip." + inner.replace("visual.transformer.resblocks", "visual.resblocks")
    return re.sub(r"^transformer\.", "aggregator.", key)


def _theirs(key: str) -> str:
    if key.startswith("upsample"):
        return key
    key = re.sub(r"^(clip\..*attn\.[qkv]_proj)\.weight$", r"\1_weight", key)
    key = re.sub(r"^aggregator\.", "transformer.", key)
    key = key.replace("clip.visual.resblocks", "clip_model.visual.transformer.resblocks")
    key = key.replace("clip.text.resblocks", "clip_model.transformer.resblocks")
    key = re.sub(r"^clip\.text\.", "clip_model.", key)
    return _PREFIX + re.sub(r"^clip\.", "clip_model.", key)
