"""Official weights through our networks into the official files: no byte changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from acclimate.model.checkpoint import load_official, save_official
from acclimate.model.config import CATSegConfig
from acclimate.model.files import Format, read_weights
from acclimate.model.load import build, load_base
from tests.golden import test_catseg_v1, test_catseg_v2

FORMATS: tuple[Format, ...] = ("detectron2", "mmseg", "safetensors")


def there_and_back(folder: Path, config: CATSegConfig, out: Path, form: Format) -> None:
    stored = read_weights(folder / "weights.safetensors")
    network = build(config)
    load_official(network, stored)
    save_official(network, out / "w.pth", form, like=stored)
    again = read_weights(out / "w.pth")
    assert again.keys() == stored.keys()
    for name, value in stored.items():
        assert again[name].dtype == value.dtype, name
        assert again[name].numpy().tobytes() == value.numpy().tobytes(), name


@pytest.mark.parametrize("form", FORMATS)
def test_v2(catseg_v2_folder: Path, tmp_path: Path, form: Format) -> None:
    config = json.loads((catseg_v2_folder / "config.json").read_text())
    there_and_back(catseg_v2_folder, test_catseg_v2.network_config(config), tmp_path, form)


@pytest.mark.parametrize("form", FORMATS)
def test_v1(catseg_v1_folder: Path, tmp_path: Path, form: Format) -> None:
    config = json.loads((catseg_v1_folder / "config.json").read_text())
    there_and_back(catseg_v1_folder, test_catseg_v1.network_config(config), tmp_path, form)


def test_v1_is_a_base_without_a_config(catseg_v1_folder: Path, tmp_path: Path) -> None:
    """As mmengine writes it; sizes and templates are told from the tensors alone."""
    config = json.loads((catseg_v1_folder / "config.json").read_text())
    state = read_weights(catseg_v1_folder / "weights.safetensors")
    torch.save({"meta": {"epoch": 3}, "state_dict": state}, tmp_path / "iter_80000.pth")
    base = load_base(tmp_path / "iter_80000.pth")
    assert base.network.config == test_catseg_v1.network_config(config)
    assert list(base.templates) == config["templates"]
