"""The distance of an adapter from the base, against the products written out."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel

from acclimate.adapt.anchor import distance_to_base, shrink
from acclimate.adapt.lora import lora_tensors, network_of
from acclimate.adapt.strategy import Setup
from acclimate.model.projections import merged_weight


@pytest.fixture
def model(make) -> PeftModel:  # type: ignore[no-untyped-def]
    setup: Setup = make(rank=3, alpha=5.0)
    with torch.no_grad():
        for value in lora_tensors(setup.model).values():
            value.normal_(generator=setup.generator)
    return setup.model


def written_out(model: PeftModel) -> float:
    ratios = []
    for module in network_of(model).modules():
        if hasattr(module, "lora_A"):
            base = module.base_layer.weight
            ratios.append(((merged_weight(module) - base).norm() / base.norm()) ** 2)
    assert len(ratios) == 2 * 2 * 3
    return torch.stack(ratios).mean().item()


def test_it_is_the_mean_squared_share_of_the_base(model: PeftModel) -> None:
    assert distance_to_base(model).item() == pytest.approx(written_out(model), rel=1e-4)


def test_it_is_felt_by_a_and_b(model: PeftModel) -> None:
    distance_to_base(model).backward()
    assert all(p.grad is not None and p.grad.any() for p in lora_tensors(model).values())


def test_the_way_back_is_straight(model: PeftModel) -> None:
    before, moved = written_out(model), network_of(model)
    deltas = {n: merged_weight(m) - m.base_layer.weight for n, m in moved.named_modules()
              if hasattr(m, "lora_A")}  # fmt: skip
    shrink(model, 0.25)
    for name, delta in deltas.items():
        layer = moved.get_submodule(name)
        torch.testing.assert_close(merged_weight(layer) - layer.base_layer.weight, 0.75 * delta)  # type: ignore
    assert distance_to_base(model).item() == pytest.approx(0.75**2 * before, rel=1e-4)
    shrink(model, 1.0)
    assert distance_to_base(model).item() == 0.0
    assert all(p.requires_grad for p in lora_tensors(model).values())
