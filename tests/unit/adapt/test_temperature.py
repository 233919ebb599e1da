"""A temperature that is known is found again, and only sigmoid heads get one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from acclimate.adapt.batch import Batch, Frames, to_images
from acclimate.adapt.strategies.vocalign import VocAlign
from acclimate.adapt.strategy import Setup
from acclimate.adapt.temperature import (
    fit_temperature,
    sigmoid_confidence,
    softmax_confidence,
    temperature_for,
)
from acclimate.configs.adapt import AdaptConfig
from acclimate.errors import Diverged

OWNER = torch.eye(4)[[0, 0, 1, 2, 2, 2, 3]]


def noise(seed: int, scale: float = 3.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(7, 5, 6, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("known", [0.05, 0.3, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_known_temperature_is_found_again(seed: int, known: float) -> None:
    """Calibrated logits times `known`: their confidence before is all that is told."""
    calibrated = noise(seed, 1.5)
    tops = [
        torch.stack([x.softmax(0)[:2].sum(0), x.softmax(0)[2], x.softmax(0)[3:6].sum(0),
                     x.softmax(0)[6]]).max(0).values for x in calibrated
    ]  # fmt: skip
    target = torch.stack(tops).mean().item()
    found = fit_temperature([known * x for x in calibrated], OWNER, target)
    assert found == pytest.approx(known, rel=1e-4)


def test_confidence_falls_as_the_temperature_rises() -> None:
    logits = noise(2)
    sure = [softmax_confidence(logits, OWNER, t) for t in (0.01, 0.5, 1.0, 5.0, 100.0)]
    assert sure == sorted(sure, reverse=True)
    assert sure[0] == pytest.approx(1.0, abs=0.01)
    assert sure[-1] == pytest.approx(3 / 7, abs=0.03)  # three of seven strings are one class


def test_sigmoids_are_as_sure_as_their_surest_string() -> None:
    logits = [torch.tensor([[[0.0]], [[-1.0]]]), torch.tensor([[[-9.0]], [[2.0]]])]
    assert sigmoid_confidence(logits) == pytest.approx((0.5 + 0.8807971) / 2)


def fitted(setup: Setup, frames: Frames, settings: AdaptConfig) -> float:
    with torch.no_grad():
        text = setup.words.embed()
    return temperature_for(setup.words.base, text, setup.words.owner, frames, settings)


def test_a_softmax_head_and_a_given_temperature_are_left_alone(
    make: Callable[..., Setup], frames: Frames
) -> None:
    setup = make()
    assert fitted(setup, frames, setup.settings) == 1.0
    setup.words.base = replace(setup.words.base, head="sigmoid")
    assert fitted(setup, frames, replace(setup.settings, temperature=2.5)) == 2.5


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_a_sigmoid_head_is_as_sure_as_it_was_trained_to_be(
    make: Callable[..., Setup], frames: Frames, variant: str
) -> None:
    setup = make(variant)
    network = setup.words.base.network
    network.aggregator.head.bias.data += 1.5
    setup.words.base = replace(setup.words.base, head="sigmoid")
    with torch.no_grad():
        logits = network(to_images(frames), setup.words.embed())
    found = fitted(setup, frames, setup.settings)
    p = (logits / found).softmax(1)
    classes = torch.stack([p[:, 0], p[:, 1:4].sum(1), p[:, 4:6].sum(1), p[:, 6]], 1)
    sure = logits.sigmoid().amax(1).mean().item()
    assert classes.amax(1).mean().item() == pytest.approx(sure, abs=1e-3)
    assert not 0.99 < found < 1.01


def test_both_sides_learn_at_the_same_temperature(
    make: Callable[..., Setup], frames: Frames
) -> None:
    """Logits of a head ten times as bold, at ten times the temperature: the same step."""
    still: dict[str, Any] = {"mirror": False, "jitter": 0.0, "hue": 0.0, "tau": 0.3}
    batch = Batch(to_images(frames[:2]), torch.ones(2, 64, 64, dtype=torch.bool))
    plain, bold = make(**still), make(**still)
    head = bold.words.base.network.aggregator.head
    head.weight.data.mul_(10)
    head.bias.data.mul_(10)
    bold.words.temperature = 10.0
    losses = [VocAlign(setup).step(batch).loss for setup in (plain, bold)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_logits_that_are_not_finite_are_told(make: Callable[..., Setup], frames: Frames) -> None:
    setup = make()
    setup.words.base = replace(setup.words.base, head="sigmoid")
    setup.words.base.network.aggregator.head.bias.data.fill_(float("nan"))
    with pytest.raises(Diverged, match="roll back"):
        fitted(setup, frames, setup.settings)
