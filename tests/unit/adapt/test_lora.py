"""The adapter's life on a tiny network: made, saved, read back, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor

from acclimate.adapt.lora import (
    adapter_for,
    copy_tensors,
    load_adapter,
    lora_tensors,
    network_of,
    new_adapter,
    save_adapter,
)
from acclimate.configs.adapt import AdaptConfig, preset
from acclimate.errors import BundleError, CorruptBundle, IncompatibleBundle
from acclimate.model.catseg import CATSeg
from acclimate.model.pretrain import default_config

TOKENS = torch.tensor([[68, 1, 2, 69] + [0] * 73])
WEIGHTS = "adapter_model.safetensors"


def network() -> CATSeg:
    torch.manual_seed(3)
    return CATSeg(default_config(3)).eval().requires_grad_(False)


def trained(rank: int = 4, blocks: int = 2) -> PeftModel:
    """An adapter that does something."""
    model = new_adapter(network(), rank, 4.0, blocks)
    with torch.no_grad():
        for tensor in lora_tensors(model).values():
            tensor.normal_()
    return model


@torch.no_grad()
def text(model: PeftModel) -> Tensor:
    return network_of(model).encode_text(TOKENS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_adapter(trained(), tmp_path)
    return tmp_path


def test_a_new_adapter_changes_nothing() -> None:
    base = network()
    before = base.encode_text(TOKENS)
    model = new_adapter(base, 4, 4.0, 2)
    assert network_of(model) is base
    torch.testing.assert_close(text(model), before)


def test_it_trains_q_k_and_v_of_the_first_blocks_alone() -> None:
    model = new_adapter(network(), 4, 8.0, 2)
    places = {name.split(".clip.")[1].split(".lora_")[0] for name in lora_tensors(model)}
    assert places == {
        f"{tower}.resblocks.{block}.attn.{part}_proj"
        for tower in ("visual", "text")
        for block in (0, 1)
        for part in "qkv"
    }
    assert all(".lora_" in name for name in lora_tensors(model))
    q = network_of(model).get_submodule("clip.text.resblocks.0.attn.q_proj")
    assert q.scaling == {"default": 8.0 / 2.0}


@pytest.mark.parametrize(
    ("keys", "places"),
    [
        ({"towers": "visual"}, {f"visual {i} {p}" for i in (0, 1) for p in "qkv"}),
        ({"towers": "text", "projections": ("out",)}, {f"text {i} out" for i in (0, 1)}),
        ({"projections": ("q", "v")},
         {f"{t} {i} {p}" for t in ("visual", "text") for i in (0, 1) for p in "qv"}),
    ],
)  # fmt: skip
def test_towers_and_projections_are_chosen(keys: dict[str, Any], places: set[str]) -> None:
    model = adapter_for(network(), AdaptConfig(blocks=2, **keys))
    parts = [name.split(".clip.")[1].split(".") for name in lora_tensors(model)]
    assert {f"{p[0]} {p[2]} {p[4].removesuffix('_proj')}" for p in parts} == places


@pytest.mark.parametrize(("scale", "value"), [("alpha/sqrt(r)", 6.0 / 2.0), ("alpha/r", 6.0 / 4.0)])
def test_the_scale_is_by_rank_or_by_its_root(scale: Any, value: float) -> None:
    model = adapter_for(network(), AdaptConfig(rank=4, alpha=6.0, lora_scale=scale))
    q = network_of(model).get_submodule("clip.text.resblocks.0.attn.q_proj")
    assert q.scaling == {"default": value}


def test_more_blocks_than_a_tower_has_are_those_it_has() -> None:
    model = adapter_for(network(), preset("released"))
    blocks = {tuple(name.split(".clip.")[1].split(".")[:3]) for name in lora_tensors(model)}
    assert len([b for b in blocks if b[0] == "visual"]) == 5
    assert len([b for b in blocks if b[0] == "text"]) == 3


def test_a_round_trip_gives_equal_tensors_and_features(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["adapter_config.json", WEIGHTS]
    original, loaded = trained(), load_adapter(network(), folder)
    first, second = lora_tensors(original), lora_tensors(loaded)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(text(loaded), text(original))
    assert not torch.allclose(text(loaded), network().encode_text(TOKENS))


def test_tensors_are_copied_in_place(folder: Path) -> None:
    model, original = new_adapter(network(), 4, 4.0, 2), lora_tensors(trained())
    own = lora_tensors(model)
    copy_tensors(model, folder)
    assert all(torch.equal(own[name], value) for name, value in original.items())
    assert all(p.requires_grad for p in own.values())


@pytest.mark.parametrize("content", [b"", b"rubbish", None])
def test_broken_weights_are_corrupt(folder: Path, content: bytes | None) -> None:
    weights = folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-9] if content is None else content)
    with pytest.raises(CorruptBundle, match="unreadable"):
        load_adapter(network(), folder)
    with pytest.raises(CorruptBundle, match="unreadable"):
        copy_tensors(trained(), folder)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CorruptBundle, match=r"adapter_config\.json"):
        load_adapter(network(), tmp_path / "nowhere")
    (folder / WEIGHTS).unlink()
    with pytest.raises(BundleError):
        load_adapter(network(), folder)
    with pytest.raises(CorruptBundle, match="adapter_model"):
        copy_tensors(trained(), folder)


@pytest.mark.parametrize(("rank", "blocks"), [(2, 2), (4, 1)])
def test_an_adapter_of_another_shape_is_incompatible(folder: Path, rank: int, blocks: int) -> None:
    model = trained(rank, blocks)
    before = {name: value.clone() for name, value in lora_tensors(model).items()}
    with pytest.raises(IncompatibleBundle, match="does not fit"):
        copy_tensors(model, folder)
    assert all(torch.equal(value, before[name]) for name, value in lora_tensors(model).items())


@pytest.mark.parametrize(("old", "new"), [('"r": 4', '"r": 2'), ("q_proj", "x_proj"), ("{", "")])
def test_a_config_that_does_not_fit_is_refused(folder: Path, old: str, new: str) -> None:
    path = folder / "adapter_config.json"
    text = path.read_text().replace("(q|k|v)_proj", "q_proj", 1)
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BundleError):
        load_adapter(network(), folder)
