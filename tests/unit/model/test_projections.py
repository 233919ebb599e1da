"""Projections as the engine takes them: the base's own weights plus the LoRA delta."""

from __future__ import annotations

import math

import pytest
import torch
from peft import PeftModel

from acclimate.adapt.lora import lora_tensors, network_of, new_adapter
from acclimate.model.load import load_base
from acclimate.model.projections import merged_projections, merged_weight, projection_names

RANK, ALPHA, BLOCKS = 4, 6.0, 2


@pytest.fixture
def model() -> PeftModel:
    """The default with a LoRA of random numbers."""
    model = new_adapter(load_base().network, RANK, ALPHA, BLOCKS)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in lora_tensors(model).values():
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    return model


def test_names_are_q_k_and_v_of_the_first_blocks() -> None:
    names = projection_names(BLOCKS)
    assert list(names) == [f"visual.{b}.{n}_proj.weight" for b in range(BLOCKS) for n in "qkv"]
    assert names.items() <= projection_names(BLOCKS + 1).items()
    parameters = dict(load_base().network.named_parameters())
    assert set(names.values()) <= parameters.keys()


def test_the_base_gives_its_own_weights() -> None:
    network = load_base().network
    found = merged_projections(network, BLOCKS)
    own = dict(network.named_parameters())
    assert [
        n for n, p in projection_names(BLOCKS).items() if not torch.equal(found[n], own[p])
    ] == []


def test_a_zero_lora_changes_nothing() -> None:
    plain = merged_projections(load_base().network, BLOCKS)
    fresh = new_adapter(load_base().network, RANK, ALPHA, BLOCKS)
    found = merged_projections(network_of(fresh), BLOCKS)
    assert all(torch.equal(found[name], plain[name]) for name in plain)


def test_the_merge_is_the_base_plus_the_scaled_product(model: PeftModel) -> None:
    for block in network_of(model).clip.visual.resblocks[:BLOCKS]:
        for name in "qkv":
            linear = getattr(block.attn, f"{name}_proj")
            a, b = linear.lora_A["default"].weight, linear.lora_B["default"].weight
            expected = linear.base_layer.weight + ALPHA / math.sqrt(RANK) * b @ a
            torch.testing.assert_close(merged_weight(linear), expected)


def test_merging_leaves_the_base_alone(model: PeftModel) -> None:
    merged = merged_projections(network_of(model), BLOCKS)
    plain = merged_projections(load_base().network, BLOCKS)
    assert all(not torch.equal(merged[name], plain[name]) for name in plain)
    assert all(value.is_contiguous() and not value.requires_grad for value in merged.values())
    for block, clean in zip(
        network_of(model).clip.visual.resblocks[:BLOCKS],
        load_base().network.clip.visual.resblocks,
        strict=False,
    ):
        for name in "qkv":
            linear = getattr(block.attn, f"{name}_proj")
            assert not linear.merged
            assert torch.equal(linear.base_layer.weight, getattr(clean.attn, f"{name}_proj").weight)


@torch.no_grad()
def test_the_merged_weight_acts_as_the_wrapped_layer(model: PeftModel) -> None:
    linear = network_of(model).clip.visual.resblocks[0].attn.q_proj
    x = torch.randn(3, linear.in_features, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.linear(x, merged_weight(linear), linear.base_layer.bias)
    torch.testing.assert_close(linear(x), expected, rtol=1e-4, atol=1e-5)
