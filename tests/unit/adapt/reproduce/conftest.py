"""Miniatures of the data sets in their own layouts, and a tiny CAT-Seg v1 as a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from acclimate.configs.reproduction import Dataset, Recipe, Task, recipe_for
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.model.checkpoint import to_official
from acclimate.model.load import build
from tests.unit.adapt.conftest import KNOWN, V1

SIZE, COUNTS = (48, 96), {"train": 5, "val": 3}


def write(path: Path, image: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def names_of(dataset: Dataset, split: str, i: int) -> tuple[str, str]:
    """Where the data set's own tools put image `i` and its label map."""
    if dataset == "cityscapes":
        stem = f"{split}/bonn/bonn_{i:06d}_000019"
        return f"leftImg8bit/{stem}_leftImg8bit.png", f"gtFine/{stem}_gtFine_labelIds.png"
    if dataset == "ade":
        split = {"train": "training", "val": "validation"}[split]
        return f"images/{split}/ADE_{i:08d}.jpg", f"annotations/{split}/ADE_{i:08d}.png"
    stem = f"2008_{i + 100 * (split == 'val'):06d}"
    return f"JPEGImages/{stem}.jpg", f"SegmentationClassContext/{stem}.png"


@pytest.fixture
def miniature(tmp_path: Path) -> Callable[[Dataset], Path]:
    """Pictures of blocks, each class a colour of its own."""

    def make(dataset: Dataset) -> Path:
        root, rng = tmp_path / "data", np.random.default_rng(7)
        values = load_vocabulary(recipe_for(dataset, "paper").vocabulary).labels
        for split, count in COUNTS.items():
            for i in range(count):
                image, label = names_of(dataset, split, i)
                truth = rng.integers(0, len(values), (6, 12)).repeat(8, 0).repeat(8, 1)
                colour = np.stack([truth * 11 % 256, truth * 5 % 256, 255 - truth], -1)
                write(root / image, colour.astype(np.uint8))
                write(root / label, values[truth].astype(np.uint8))
        for split, count in COUNTS.items() if dataset == "pc59" else ():
            lines = [Path(names_of(dataset, split, i)[0]).stem for i in range(count)]
            file = root / f"ImageSets/SegmentationContext/{split}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(lines) + "\n")
        return root

    return make


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny v1, whose head is far from undecided."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(11)
    network = build(V1)
    for name, value in network.named_parameters():
        if "head.weight" in name:
            value.data.mul_(20)
    save_file(to_official(network) | {"known_tokens": KNOWN}, folder / "weights.safetensors")
    card = {"network": asdict(V1), "template": ["a {}", "the {}"]}
    (folder / "config.json").write_text(json.dumps(card))
    return folder / "weights.safetensors"


@pytest.fixture
def task(miniature: Callable[[Dataset], Path], weights: Path, tmp_path: Path) -> Task:
    """Cityscapes in small."""
    return Task(
        "cityscapes", str(miniature("cityscapes")), str(weights), str(tmp_path / "out"), steps=4,
        device="cpu", threads=1,
    )  # fmt: skip


def small(task: Task, **keys: Any) -> Recipe:
    """The task's recipe for pictures of 96 x 48 px and a network of 64 x 64."""
    recipe = task.recipe
    easy: dict[str, Any] = {"tau": 0.0, "lr": 1e-2, "warmup_steps": 0}  # it is never sure of much
    settings = replace(recipe.settings, crop=32, blocks=2, **easy, **keys)
    return replace(recipe, scale=(96, 48), settings=settings)
