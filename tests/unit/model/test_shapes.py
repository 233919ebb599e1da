"""Sizes told from tensors: the official ones, tiny ones, and files that are damaged."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from acclimate.errors import CheckpointError
from acclimate.model.checkpoint import misfits, to_official
from acclimate.model.config import V1_R101_VITB, VITB_384, VITL_336, CATSegConfig
from acclimate.model.shapes import identify, infer, outline

# Sizes as the official tools allow them: heads of 64 channels, blocks and grid as released.
SMALL = replace(
    VITB_384, vision_width=64, vision_heads=1, embed_dim=48, text_width=128, text_layers=2,
    text_heads=2, vocab_size=26, num_templates=3, hidden_dim=32, appearance_proj_dim=16,
    text_proj_dim=16, decoder_dims=(32, 16), decoder_guidance_proj_dims=(16, 8), num_layers=1,
)  # fmt: skip
SMALL_L = replace(VITL_336, vision_width=128, vision_heads=2, text_layers=1, pad_len=0)
SMALL_V1 = replace(
    V1_R101_VITB, vision_width=64, vision_heads=1, vision_layers=3, embed_dim=48, text_layers=2,
    resnet_blocks=(3, 4, 6), resnet_width=8, decoder_guidance_dims=(64, 32),
)  # fmt: skip
ALL = [VITB_384, VITL_336, V1_R101_VITB, SMALL, SMALL_L, SMALL_V1]


@pytest.mark.parametrize("config", ALL)
def test_sizes_are_told_from_tensors(config: CATSegConfig) -> None:
    state = to_official(outline(config))
    assert identify(state) == config.variant
    assert infer(state, config.variant) == config


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("visual.proj", "token_embedding.weight", "logit_scale"), "clip"),
        (("backbone.conv1.weight", "neck.conv1.weight"), "v1"),
        (("fc.weight",), "unknown"),
        ((), "unknown"),
    ],
)
def test_other_files_are_told_apart(names: tuple[str, ...], kind: str) -> None:
    assert identify(names) == kind


def small(variant: Literal["v2", "v1"]) -> tuple[CATSegConfig, dict[str, Tensor]]:
    config = SMALL if variant == "v2" else SMALL_V1
    return config, {k: torch.zeros(v.shape) for k, v in to_official(outline(config)).items()}


@pytest.mark.parametrize("variant", ["v2", "v1"])
def test_any_one_missing_key_is_named(variant: Literal["v2", "v1"]) -> None:
    """Whichever tensor lacks, the sizes come from others, and loading will name it."""
    config, state = small(variant)
    alone = {  # the only tensor of its size: without it the official size is taken
        "num_templates": "conv1.weight", "template_tiles": "conv1.weight",
        "vocab_size": "token_embedding.weight",
    }  # fmt: skip
    for name in state:
        rest = {key: value for key, value in state.items() if key != name}
        found = infer(rest, variant)
        changed = {k for k, v in found.to_dict().items() if v != config.to_dict()[k]}
        assert all(name.endswith(alone.get(size, "?")) for size in changed), (name, changed)


def test_one_misshapen_tensor_is_outvoted() -> None:
    _, state = small("v2")
    shared = ("clip_model.visual.ln_pre.weight", "clip_model.ln_final.bias", "conv1.bias")
    for name in (key for key in state if key.endswith(shared)):
        bent = state | {name: state[name][:5]}
        problems = misfits(bent, to_official(outline(infer(bent, "v2"))))
        assert [problem.split(":")[0] for problem in problems] == [name]


@pytest.mark.parametrize("depth", [1, 6, 11, 13])
def test_another_depth_needs_a_config(depth: int) -> None:
    odd = replace(SMALL, vision_layers=depth, guidance_layers=(0, 1))
    with pytest.raises(CheckpointError, match=rf"{depth} image blocks.*config\.json"):
        infer(to_official(outline(odd)), "v2")


IMPOSSIBLE = {
    "window_size": [0, -1, 7, 12.0, "12", None, True],
    "vision_heads": [0, 5, [1]],
    "text_heads": [3],
    "num_heads": [3],
    "patch_size": [0, 17, 10**9],
    "image_size": [[384], [384, 384, 384], 384, [384, 0], ["a", "b"], [380, 384]],
    "decoder_dims": [[4, 4], [64, 24], [64]],
    "decoder_guidance_proj_dims": [[128, 16], [32, 64]],
    "guidance_layers": [[7, 3], [3, 11], [3], [3, 7, 9], []],
    "pooling_size": [[0, 1], [25, 25]],
    "pad_len": [-1],
    "vision_layers": ["six", 0],
    "variant": ["v3", 2],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in IMPOSSIBLE.items() for value in values]
)
def test_impossible_sizes_are_named(name: str, value: object) -> None:
    stored = VITB_384.to_dict() | {name: value}
    with pytest.raises(CheckpointError, match=name):
        CATSegConfig.from_dict(stored)


@pytest.mark.parametrize(
    ("name", "value"),
    [("patch_size", 32), ("resnet_blocks", [3, 4]), ("decoder_guidance_dims", [256, 128])],
)
def test_impossible_sizes_of_v1_are_named(name: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=name):
        CATSegConfig.from_dict(V1_R101_VITB.to_dict() | {name: value})


@pytest.mark.parametrize("config", ALL)
def test_every_network_that_exists_is_possible(config: CATSegConfig) -> None:
    assert CATSegConfig.from_dict(config.to_dict()) == config
