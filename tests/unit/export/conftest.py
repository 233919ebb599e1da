"""A CAT-Seg of few numbers, untrained, and one engine of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from acclimate.export.onnx import export_engine
from acclimate.model.catseg import CATSeg
from acclimate.model.checkpoint import to_official
from acclimate.model.config import VITB_384
from acclimate.model.load import BaseModel, load_base
from acclimate.model.pretrain import TEMPLATE, default_config, known_tokens
from acclimate.model.templates import SINGLE
from acclimate.world import Drive

BLOCKS, CLASSES, SIZE = 2, 5, (32, 64)


def words(strings: int) -> tuple[Tensor, Tensor]:
    """Text features (S, C) of no language, and which of the classes each counts for (S, T)."""
    text = torch.randn(strings, 1, 32, generator=torch.Generator().manual_seed(strings))
    return F.normalize(text, dim=-1), torch.eye(CLASSES)[torch.arange(strings) % CLASSES]


def noise(seed: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Exported:
    """An engine's folder, what it was made from, and what `export_engine` returned."""

    folder: Path
    base: BaseModel
    info: dict[str, object]


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """weights.safetensors with its config beside it; the class attention holds 8 strings."""
    known = known_tokens()
    config = replace(
        default_config(len(known)), image_size=SIZE, stored_grid=(4, 8), vision_width=32,
        vision_layers=3, vision_heads=2, embed_dim=32, text_width=32, text_layers=1, text_heads=2,
        guidance_layers=(0, 1), appearance_proj_dim=8, text_proj_dim=8, pad_len=8,
    )  # fmt: skip
    torch.manual_seed(7)
    folder = tmp_path_factory.mktemp("tiny")
    save_file(to_official(CATSeg(config)) | {"known_tokens": known}, folder / "weights.safetensors")
    written = {"network": config.to_dict(), "template": TEMPLATE}
    (folder / "config.json").write_text(json.dumps(written))
    return folder / "weights.safetensors"


@pytest.fixture(scope="session")
def exported(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The tiny network as an engine, exported with 6 strings; don't write to it."""
    base, folder = load_base(tiny_weights), tmp_path_factory.mktemp("engine")
    info = export_engine(base, folder, SIZE, *words(6), BLOCKS, [noise(0), noise(1)])
    return Exported(folder, base, info)


@pytest.fixture(scope="session")
def vitb(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The official ViT-B/16 at 384 with random weights, 19 strings; don't write to it.

    Its head is so strong that the classes of a pixel differ by as much as a trained one's.
    """
    torch.manual_seed(0)
    network = CATSeg(VITB_384).eval().requires_grad_(False)
    network.aggregator.head.weight.mul_(64)
    text = F.normalize(torch.randn(19, 1, VITB_384.embed_dim), dim=-1)
    base, folder = BaseModel(network, SINGLE, None, "random"), tmp_path_factory.mktemp("vitb")
    probe = Drive(0, VITB_384.image_size).frame(30)[0]
    info = export_engine(
        base, folder / "engine", VITB_384.image_size, text, torch.eye(19), 4, [probe]
    )
    return Exported(folder / "engine", base, info)
