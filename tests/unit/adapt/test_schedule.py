"""The learning rate, step by step, against torch's own schedulers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler

from acclimate.adapt.schedule import rate
from acclimate.configs.adapt import AdaptConfig, preset


def theirs(make: Any, steps: int) -> list[float]:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler: LRScheduler = make(optimiser)
    rates = []
    for _ in range(steps):
        rates.append(scheduler.get_last_lr()[0])
        optimiser.step()
        scheduler.step()
    return rates


def ours(**keys: Any) -> list[float]:
    settings = AdaptConfig(lr=0.1, steps=20, **keys)
    return [rate(settings, step) for step in range(20)]


def test_linear_ends_at_nothing() -> None:
    expected = theirs(lambda o: LinearLR(o, 1.0, 1e-12, 20), 20)
    assert ours(schedule="linear") == pytest.approx(expected, abs=1e-9)
    assert ours()[0] == 0.1 and ours()[10] == 0.1 * (1 - 10 / 20)


def test_cosine_is_torchs() -> None:
    expected = theirs(lambda o: CosineAnnealingLR(o, 20), 20)
    assert ours(schedule="cosine") == pytest.approx(expected)


def test_constant_after_a_warm_up() -> None:
    expected = theirs(lambda o: LinearLR(o, 0.01, 1.0, 8), 20)
    assert ours(schedule="constant", warmup_steps=8, warmup_from=0.01) == pytest.approx(expected)


def test_the_published_rates() -> None:
    paper, released = preset("paper"), preset("released")
    assert rate(paper, 0) == pytest.approx(5e-6) and rate(paper, 500) == pytest.approx(5e-5)
    assert rate(released, 0) == pytest.approx(5e-8) and rate(released, 39_999) == 5e-6
