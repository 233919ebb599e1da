"""Work on a few classes or positions at a time, where each is on its own and the result exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CLASSES, POSITIONS = 32, 144
LEARNED_CLASSES = 4  # at a time while activations are computed again: several tensors of each live
_again: ContextVar[bool] = ContextVar("recompute", default=False)


@contextmanager
def recomputing(on: bool = True) -> Iterator[None]:
    """Within, a graph keeps only what enters each piece; its backward pass computes the rest again.

    Gradients stay the same, to rounding; a third more time for a fraction of the memory.
    """
    token = _again.set(on)
    try:
        yield
    finally:
        _again.reset(token)


def piece(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function(x)`, one of the pieces of `recomputing`; nothing in it may be random."""
    if torch.is_grad_enabled() and not torch.compiler.is_exporting() and _again.get():
        again: Tensor = checkpoint(function, x, use_reentrant=False, preserve_rng_state=False)
        return again
    return function(x)


def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor, dim: int, size: int) -> Tensor:
    """`function` on slices of `x` of at most `size` along `dim`, joined along it again.

    All at once while a graph is exported or, without `recomputing`, recorded: slices would save
    nothing there.
    """
    if torch.compiler.is_exporting():
        return function(x)
    if torch.is_grad_enabled():
        if not _again.get():
            return function(x)
        size = LEARNED_CLASSES if size == CLASSES else size
    if x.shape[dim] <= size:
        return piece(function, x)
    return torch.cat([piece(function, part) for part in x.split(size, dim)], dim)
