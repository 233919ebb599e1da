"""How far an adapter is from the base, and the way back. The product B A counts, not A and B."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

ADAPTER = "default"


def distance_to_base(model: PeftModel) -> Tensor:
    """Mean over adapted projections of |s B A|² / |W|² (Frobenius), differentiable, 0 at the base.

    By the small products B'B and AA', so that nothing of W's size is made.
    """
    each = []
    for layer in _layers(model):
        a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        moved = layer.scaling[ADAPTER] ** 2 * ((b.T @ b) * (a @ a.T)).sum()
        each.append(moved / layer.base_layer.weight.detach().square().sum())
    return torch.stack(each).mean()


@torch.no_grad()
def shrink(model: PeftModel, share: float) -> None:
    """Take `share` (0..1) off every B: that much of the way back to the base, 1 = all of it."""
    for layer in _layers(model):
        layer.lora_B[ADAPTER].weight.mul_(1.0 - share)


def _layers(model: PeftModel) -> Iterator[Any]:
    """PEFT's layers, whose attributes are not typed."""
    return (m for m in model.modules() if hasattr(m, "lora_A"))
