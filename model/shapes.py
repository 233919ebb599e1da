"""What a weights file is, from the names and shapes of its tensors alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from acclimate.errors import CheckpointError
from acclimate.model.catseg import CATSeg
from acclimate.model.config import V1_R101_VITB, VITB_384, CATSegConfig
from acclimate.model.official import official_name
from acclimate.model.v1 import CATSegV1

Kind = Literal["v2", "v1", "clip", "unknown"]
Shapes = Mapping[str, tuple[int, ...]]
Axis = tuple[str, int]

GRID = 24  # rows and columns of the cost volume in every official release
_GUIDANCE_LAYERS = {12: (3, 7), 24: (7, 15)}
_LAYER, _TOWER = "aggregator.layers.0.", "clip.visual."

# A size is what most of these axes of our tensors say: one misshapen tensor is outvoted, and
# named when the file is loaded.
_SIZES: dict[str, tuple[Axis, ...]] = {
    "patch_size": ((_TOWER + "conv1.weight", 2), (_TOWER + "conv1.weight", 3)),
    "vision_width": (
        (_TOWER + "ln_pre.weight", 0), (_TOWER + "ln_post.weight", 0),
        (_TOWER + "class_embedding", 0), (_TOWER + "conv1.weight", 0),
    ),
    "embed_dim": (
        (_TOWER + "proj", 1), ("clip.text.text_projection", 1),
        ("aggregator.text_guidance_projection.0.weight", 1),
    ),
    "text_width": (
        ("clip.text.ln_final.weight", 0), ("clip.text.ln_final.bias", 0),
        ("clip.text.token_embedding.weight", 1), ("clip.text.positional_embedding", 1),
    ),
    "context_length": (("clip.text.positional_embedding", 0),),
    "vocab_size": (("clip.text.token_embedding.weight", 0),),
    "appearance_proj_dim": (
        ("aggregator.guidance_projection.0.bias", 0),
        (_LAYER + "swin_block.guidance_norm.weight", 0),
        ("aggregator.guidance_projection.0.weight", 0),
    ),
    "text_proj_dim": (
        ("aggregator.text_guidance_projection.0.bias", 0),
        ("aggregator.text_guidance_projection.0.weight", 0),
    ),
    "num_templates": (("aggregator.conv1.weight", 1),),
    "hidden_dim": (
        ("aggregator.conv1.bias", 0), (_LAYER + "attention.norm1.weight", 0),
        (_LAYER + "attention.norm2.weight", 0), ("aggregator.conv1.weight", 0),
    ),
    "resnet_width": (
        ("resnet.bn1.weight", 0), ("resnet.bn1.bias", 0), ("resnet.conv1.weight", 0),
    ),
}  # fmt: skip
_PAIRS: dict[str, tuple[tuple[Axis, ...], ...]] = {
    "decoder_guidance_proj_dims": tuple(
        tuple((f"aggregator.decoder_guidance_projection.{i}.0.{n}", 0) for n in ("bias", "weight"))
        for i in (0, 1)
    ),
    "decoder_dims": tuple(
        tuple((f"aggregator.decoder{i}.conv.double_conv.{n}.weight", 0) for n in (1, 4, 0))
        for i in (1, 2)
    ),
}  # fmt: skip


def identify(names: Iterable[str]) -> Kind:
    """What a state dict with these names is: CAT-Seg v2, v1 (mmseg), CLIP, or none of them."""
    tops = Counter(name.split(".")[0] for name in names)
    if tops["sem_seg_head"] or tops["upsample1"]:
        return "v2"
    if tops["neck"] or tops["decode_head"]:
        return "v1"
    return "clip" if tops["visual"] else "unknown"


def infer(state: Mapping[str, Tensor], variant: Literal["v2", "v1"]) -> CATSegConfig:
    """The shape of an official file. What no tensor tells follows the official configs.

    Those are: heads 64 channels wide, a grid of 24x24, four aggregator heads, pooling 1x1,
    class padding to 256 (v2), guidance from blocks 3 and 7 of 12 or 7 and 15 of 24 (v2), ten
    templates tiled to 80 (v1). Raises CheckpointError for a shape these rules do not cover.
    """
    read = _Reader({key: tuple(value.shape) for key, value in state.items()}, variant)
    sizes: dict[str, Any] = {name: read.vote(name, axes) for name, axes in _SIZES.items()}
    for name, axes in _PAIRS.items():
        sizes[name] = tuple(read.vote(name, each, i) for i, each in enumerate(axes))
    sizes |= {
        "variant": variant,
        "image_size": (GRID * sizes["patch_size"],) * 2,
        "vision_layers": read.count(_TOWER + "resblocks."),
        "vision_heads": max(1, sizes["vision_width"] // 64),
        "text_layers": read.count("clip.text.resblocks."),
        "text_heads": max(1, sizes["text_width"] // 64),
        "num_layers": read.count("aggregator.layers."),
        "num_heads": 4,
        "window_size": read.window(),
        "pooling_size": (1, 1),
        "pad_len": 256 if any(".padding_" in key for key in state) else 0,
        "stored_grid": read.stored_grid(),
    }
    sizes |= _v2_sizes(read, sizes) if variant == "v2" else _v1_sizes(read, sizes)
    return CATSegConfig.from_dict(sizes)


def _v2_sizes(read: _Reader, sizes: dict[str, Any]) -> dict[str, Any]:
    depth = sizes["vision_layers"]
    if depth not in _GUIDANCE_LAYERS:
        raise CheckpointError(
            f"no official network has {depth} image blocks, so its shape cannot be told from the "
            "file: a config.json must lie beside the weights"
        )
    guidance = [
        read.vote(
            "decoder_guidance_dims", ((f"upsample{i}.bias", 0), (f"upsample{i}.weight", 1)), i - 1
        )
        for i in (1, 2)
    ]
    return {
        "guidance_layers": _GUIDANCE_LAYERS[depth], "decoder_guidance_dims": tuple(guidance),
        "resnet_width": VITB_384.resnet_width,
    }  # fmt: skip


def _v1_sizes(read: _Reader, sizes: dict[str, Any]) -> dict[str, Any]:
    channels, width = sizes["num_templates"], sizes["resnet_width"]
    templates = V1_R101_VITB.num_templates
    tiled = channels % templates == 0
    return {
        "guidance_layers": (), "decoder_guidance_dims": (8 * width, 4 * width),
        "num_templates": templates if tiled else channels,
        "template_tiles": channels // templates if tiled else 1,
        "resnet_blocks": tuple(read.count(f"resnet.layer{i}.") for i in (1, 2, 3)),
    }  # fmt: skip


class _Reader:
    """Shapes of a file, asked for in our names."""

    def __init__(self, shapes: Shapes, variant: Literal["v2", "v1"]) -> None:
        self.shapes, self.variant = shapes, variant
        self.usual = VITB_384 if variant == "v2" else V1_R101_VITB

    def shape(self, key: str) -> tuple[int, ...]:
        return self.shapes.get(official_name(key, self.variant), ())

    def vote(self, name: str, axes: tuple[Axis, ...], index: int | None = None) -> int:
        """What most say; without any, the official ViT-B's, so that loading names what lacks."""
        seen = [self.shape(key)[axis] for key, axis in axes if len(self.shape(key)) > axis]
        if seen:
            return Counter(seen).most_common(1)[0][0]
        usual = getattr(self.usual, name)
        return int(usual if index is None else usual[index])

    def count(self, prefix: str) -> int:
        """How many numbered blocks there are below `prefix`."""
        stem = official_name(prefix, self.variant)
        return len({key[len(stem) :].split(".")[0] for key in self.shapes if key.startswith(stem)})

    def window(self) -> int:
        """The constants of the windows are as large as a window."""
        ends = ("block_2.attn_mask", "relative_position_index")
        sides = [shape[-1] for key, shape in self.shapes.items() if key.endswith(ends) and shape]
        return math.isqrt(Counter(sides).most_common(1)[0][0]) if sides else self.usual.window_size

    def stored_grid(self) -> tuple[int, int]:
        """Rows and columns of the stored position embedding, which official files have square."""
        shape = self.shape(_TOWER + "positional_embedding")
        side = math.isqrt(max(0, shape[0] - 1)) if shape else 0
        if not side or side * side + 1 != shape[0]:
            return self.usual.stored_grid
        return side, side


def build(config: CATSegConfig) -> CATSeg:
    """An untrained network of the variant and sizes in `config`.

    Raises CheckpointError where torch cannot make one.
    """
    try:
        return CATSegV1(config) if config.variant == "v1" else CATSeg(config)
    except (ValueError, TypeError, RuntimeError, ArithmeticError, AssertionError) as error:
        raise CheckpointError(f"no network has these sizes: {error}") from error


def outline(config: CATSegConfig) -> CATSeg:
    """The same without numbers (meta device): names and shapes in no time and memory."""
    with torch.device("meta"):
        return build(config)
