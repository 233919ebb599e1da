"""Tiny bases of both variants, with words and frames, for whole rounds in a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from acclimate.adapt.lora import adapter_for
from acclimate.adapt.strategy import Setup
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig
from acclimate.configs.vocabulary import parse_vocabulary
from acclimate.model.config import CATSegConfig
from acclimate.model.load import BaseModel, build

V2 = CATSegConfig(
    image_size=(64, 64), patch_size=16, stored_grid=(4, 4), vision_width=16, vision_layers=5,
    vision_heads=2, embed_dim=8, text_width=8, text_layers=2, text_heads=2, vocab_size=70,
    guidance_layers=(1, 2), decoder_guidance_dims=(8, 8), decoder_guidance_proj_dims=(4, 4),
    decoder_dims=(16, 16), appearance_proj_dim=4, text_proj_dim=4, num_heads=2, hidden_dim=8,
    window_size=2, pad_len=0,
)  # fmt: skip
V1 = replace(
    V2, variant="v1", guidance_layers=(), decoder_guidance_dims=(32, 16), resnet_width=4,
    num_templates=2, template_tiles=3, resnet_blocks=(1, 1, 1),
)  # fmt: skip
WORDS = parse_vocabulary({
    "classes": [
        {"name": "road"}, {"name": "terrain", "concepts": ["grass", "soil", "sand"]},
        {"name": "person", "concepts": ["person", "pedestrian"], "safety": True}, {"name": "sky"},
    ]
})  # fmt: skip
KNOWN = torch.tensor([320, 1611, 2533])
Make = Callable[..., Setup]


@pytest.fixture
def frames() -> list[np.ndarray[Any, Any]]:
    """Six frames (64, 64, 3), each with blocks of its own."""
    blocks = np.random.default_rng(5).integers(0, 256, (6, 8, 8, 3), np.uint8)
    return [np.ascontiguousarray(b.repeat(8, 0).repeat(8, 1)) for b in blocks]


@pytest.fixture
def make() -> Make:
    """A round's setup on a fresh tiny base of "v1" or "v2"; `keys` change its settings."""

    def build_setup(variant: str = "v2", settings: AdaptConfig | None = None, **keys: Any) -> Setup:
        torch.manual_seed(11)
        network = build(V1 if variant == "v1" else V2)
        for name, value in network.named_parameters():
            if name.endswith("head.weight") or "head.weight" in name:
                value.data.mul_(20)  # far from undecided
        templates = ("a {}", "the {}")[: network.config.num_templates]
        base = BaseModel(network.eval().requires_grad_(False), templates, KNOWN, "tiny")
        chosen = replace(settings or AdaptConfig(steps=3, blocks=2, rank=2, alpha=2.0), **keys)
        model = adapter_for(network, chosen)
        generator = torch.Generator().manual_seed(1)
        optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
        return Setup(model, Words(base, WORDS), chosen, generator, optimiser)

    return build_setup
