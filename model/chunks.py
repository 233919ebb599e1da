"""Work on a few classes or positions at a time, where each is on its own and the result exact."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CLASSES, POSITIONS = 32, 144


def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor, dim: int, size: int) -> Tensor:
    """`function` on slices of `x` of at most `size` along `dim`, joined along it again.

    All at once while a graph is recorded (training, export), where slices would save nothing.
    """
    if torch.compiler.is_exporting() or torch.is_grad_enabled() or x.shape[dim] <= size:
        return function(x)
    return torch.cat([function(part) for part in x.split(size, dim)], dim)
