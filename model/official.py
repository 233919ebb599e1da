"""What the published files call our tensors: one table of names for each variant.

Sources: KU-CVLAB/CAT-Seg @6d3a188 (v2, detectron2), Sisso16/VocAlign @4f2ed57 (v1, mmseg).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from acclimate.model.catseg import CATSeg

Layout = dict[str, list[str]]

_TOWERS = (
    ("clip.text.resblocks.", "transformer.resblocks."),
    ("clip.text.", ""),
    ("clip.visual.resblocks.", "visual.transformer.resblocks."),
    ("clip.", ""),
)
_V2, _V1 = "sem_seg_head.predictor.", "backbone."
_PREFIXES = {
    "v2": (
        *((ours, f"{_V2}clip_model.{theirs}") for ours, theirs in _TOWERS),
        ("aggregator.", f"{_V2}transformer."),
    ),
    "v1": (
        *((ours, f"{_V1}clip_model.{theirs}") for ours, theirs in _TOWERS),
        ("resnet.", f"{_V1}feature_extractor."),
        ("aggregator.decoder", "decode_head.decoder"),
        ("aggregator.head.", "decode_head.conv_seg."),
        ("aggregator.", "neck."),
    ),
}
_V1_PARTS = (
    ("swin_block.", "spatial_agg."),
    (".attn.", ".attn.w_msa."),
    (".mlp.fc1.", ".ffn.layers.0.0."),
    (".mlp.fc2.", ".ffn.layers.1."),
    (".attention.", ".class_agg."),
    (".MLP.0.", ".MLP.layers.0.0."),
    (".MLP.2.", ".MLP.layers.1."),
    (".conv.double_conv.0.", ".conv1.conv."),
    (".conv.double_conv.1.", ".conv1.gn."),
    (".conv.double_conv.3.", ".conv2.conv."),
    (".conv.double_conv.4.", ".conv2.gn."),
)
_CLIP_PROJECTION = re.compile(r"^(clip\..*\.attn\.)([qkv])_proj\.(weight|bias)$")


def layout(network: CATSeg) -> Layout:
    """Official key -> the network's own tensors that it holds, one below the other."""
    return _table(network.state_dict(), network.config.variant)


def clip_layout(network: CATSeg) -> Layout:
    """The same for the two towers alone, in the names of OpenAI's and open_clip's files."""
    towers = (key for key in network.state_dict() if key.startswith("clip."))
    inside = f"{_V1}clip_model."  # v1 keeps CLIP as it was published, projections packed
    return {key.removeprefix(inside): names for key, names in _table(towers, "v1").items()}


def _table(keys: Iterable[str], variant: str) -> Layout:
    table: Layout = {}
    for key in keys:
        packed = _CLIP_PROJECTION.match(key)
        if packed and (packed[3] == "bias" or variant == "v1"):
            stem, name = packed[1], f"in_proj_{packed[3]}"
        elif packed:
            stem, name = packed[1], f"{packed[2]}_proj_weight"
        else:
            stem, name = key, ""
        table.setdefault(official_name(stem, variant) + name, []).append(key)
    return table


def constants(network: CATSeg) -> dict[str, Tensor]:
    """Tensors that official files hold and that follow from the network's sizes."""
    size, found = network.config.window_size, {}
    for i in range(network.config.num_layers):
        if network.config.variant == "v2":
            mask = network.get_buffer(f"aggregator.layers.{i}.swin_block.block_2.attn_mask")
            found[f"{_V2}transformer.layers.{i}.swin_block.block_2.attn_mask"] = mask
        else:
            for block in ("block_1", "block_2"):
                stem = f"neck.layers.{i}.spatial_agg.{block}.attn.w_msa."
                found[f"{stem}relative_position_index"] = relative_positions(size)
    return found


def relative_positions(size: int) -> Tensor:
    """Swin's index of the offset between any two cells of a window, (size², size²) int64."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    cells = torch.stack([rows, columns]).flatten(1)
    down, right = cells[:, :, None] - cells[:, None, :] + size - 1
    return down * (2 * size - 1) + right


def official_name(key: str, variant: str) -> str:
    """Our name of a tensor (not of a packed one) -> the published one."""
    for ours, theirs in _PREFIXES[variant]:
        if key.startswith(ours):
            key = theirs + key.removeprefix(ours)
            break
    if variant == "v1" and not key.startswith(_V1):
        for part, name in _V1_PARTS:
            key = key.replace(part, name)
    return key
