"""Whole rounds on tiny bases: every preset and strategy, what moves and what must not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.adapt.anchor import distance_to_base
from acclimate.adapt.batch import Batch, Frames, to_images
from acclimate.adapt.lora import lora_tensors, network_of
from acclimate.adapt.strategies import STRATEGIES, Setup
from acclimate.adapt.strategies.vocalign import VocAlign
from acclimate.adapt.train import Trained, train_round
from acclimate.configs.adapt import PRESETS, AdaptConfig, StrategyName, preset
from acclimate.errors import ConfigError, Diverged
from acclimate.model.colour import Daylight

Make = Callable[..., Setup]
STILL: dict[str, Any] = {
    "jitter": 0.0, "hue": 0.0, "grayscale": 0.0, "blur": 0.0, "flip": 0.0, "mask_ratio": 0.0,
    "crop": 0,
}  # fmt: skip


def play(setup: Setup, frames: Frames, seed: int = 3, **fields: Any) -> Trained:
    done = train_round(
        setup.model, setup.words, frames, setup.settings, seed, lambda *_: None, **fields
    )
    setup.model.zero_grad()
    return done


def tensors(setup: Setup) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in lora_tensors(setup.model).items()}


def products_are_zero(setup: Setup) -> bool:
    return distance_to_base(setup.model).item() == 0.0


@pytest.mark.parametrize("variant", ["v1", "v2"])
@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_trains_the_adapter_alone(
    make: Make, frames: Frames, name: Any, variant: str
) -> None:
    setup = make(variant, preset(name, steps=2, warmup_steps=0, blocks=2, tau=0.3))
    network, adapter = network_of(setup.model), lora_tensors(setup.model)
    before = {n: v.clone() for n, v in network.state_dict().items() if "lora_" not in n}
    done = play(setup, frames)
    after = {n: v for n, v in network.state_dict().items() if "lora_" not in n}
    assert len(done.losses) == done.steps == done.age == 2
    assert before.keys() == after.keys()
    assert all(torch.equal(after[n], before[n]) for n in before)  # BatchNorm's statistics too
    assert any("running_mean" in n for n in before) == (variant == "v1")
    assert all(p.grad is None for n, p in network.named_parameters() if "lora_" not in n)
    assert done.distance == pytest.approx(distance_to_base(setup.model).item())
    assert done.distance > 0 and all(bool(v.isfinite().all()) for v in adapter.values())


@pytest.mark.parametrize("name", get_args(StrategyName))
def test_every_strategy_is_there_and_repeats_itself(
    make: Make, frames: Frames, name: StrategyName
) -> None:
    assert set(get_args(StrategyName)) == STRATEGIES.keys()
    first, again = (play(setup := make(strategy=name), frames) for _ in range(2))
    assert first.losses == again.losses
    assert products_are_zero(setup) == (name == "frozen")


def test_the_teachers_second_look_is_towards_the_bases_daylight(make: Make, frames: Frames) -> None:
    """A base that says nothing of its daylight has no second look."""
    once, unknown, twice = make(), make(teacher_colour="whole"), make(teacher_colour="whole")
    bright = Daylight(*(np.full((2, 3), grey, np.float32) for grey in (200, 20)))
    twice.words.base = replace(twice.words.base, daylight=bright)
    losses = [play(setup, frames).losses for setup in (once, unknown, twice)]
    assert losses[0] == pytest.approx(losses[1])
    assert losses[0] != pytest.approx(losses[2], abs=1e-3)


def test_the_ablations_leave_parts_of_the_method_out(make: Make, frames: Frames) -> None:
    plain = {"alignment": "none", "top_k": 0, "mask_ratio": 0.0}
    for strategy, keys in (("teacher_student", plain), ("masking", plain | {"mask_ratio": 0.3})):
        named = play(make(strategy=strategy, top_k=2, mask_ratio=0.3), frames)
        assert named.losses == play(make(**keys), frames).losses


def test_frozen_is_its_parent(make: Make, frames: Frames) -> None:
    setup = make()
    play(setup, frames)
    before = tensors(setup)
    frozen = replace(setup, settings=replace(setup.settings, strategy="frozen"))
    done = play(frozen, frames)
    assert done.losses == (0.0, 0.0, 0.0)
    assert all(torch.equal(value, before[n]) for n, value in tensors(setup).items())


def test_a_round_starts_from_the_adapter_it_is_given_with_nothing_else(
    make: Make, frames: Frames
) -> None:
    """The same adapter in a fresh process and in the one that made it give equal rounds."""
    setup, fresh = make(), make()
    play(setup, frames, seed=8)
    with torch.no_grad():
        for name, value in lora_tensors(fresh.model).items():
            value.copy_(lora_tensors(setup.model)[name])
    assert play(setup, frames).losses == play(fresh, frames).losses
    other = tensors(fresh)
    assert all(torch.equal(value, other[n]) for n, value in tensors(setup).items())


def test_every_setting_changes_what_is_learned(make: Make, frames: Frames) -> None:
    pruned = {"top_k": 2, "tau": 0.1}
    changes: tuple[dict[str, Any], ...] = (
        {}, {"alignment": "teacher"}, {"alignment": "none"}, {"mirror": False}, pruned,
        pruned | {"prune_student": False}, pruned | {"ignore_pruned": False},
        {"balance": 0.0}, {"weighting": "none"}, {"ignore_unsure": False}, {"flip": 0.0},
        {"mask_ratio": 0.9}, {"mask_block": 8}, {"jitter": 0.9}, {"hue": 0.4}, {"crop": 32},
        {"grayscale": 1.0}, {"blur": 1.0}, {"lr": 1e-2}, {"schedule": "constant"},
        {"clip_norm": 1e-3}, {"weight_decay": 10.0}, {"warmup_steps": 3}, {"ema": 0.1},
        {"projections": ("q",)}, {"towers": "visual"}, {"lora_scale": "alpha/r"},
        {"hood": (((0.0, 0.5), (1.0, 0.5), (1.0, 1.0)),)}, {"anchor": 1e4}, {"tau": 0.9},
        {"strategy": "entropy"}, {"strategy": "teacher_student"},
    )  # fmt: skip
    made: dict[tuple[float, ...], dict[str, Any]] = {}
    for keys in changes:
        same = made.setdefault(play(make(**keys), frames).losses, keys)
        assert same == keys


def test_decay_walks_back_to_the_base(make: Make, frames: Frames) -> None:
    setup = make()
    play(setup, frames)
    before = distance_to_base(setup.model).item()
    half = replace(setup.settings, strategy="frozen", adapter_decay=0.5)
    done = play(replace(setup, settings=half), frames, age=3)
    assert done.distance == pytest.approx(before / 4)
    assert done.age == 6
    whole = replace(setup.settings, strategy="frozen", adapter_decay=1.0)
    assert play(replace(setup, settings=whole), frames, age=6).age == 3
    assert products_are_zero(setup)


def test_the_pull_to_the_base_keeps_the_adapter_near(make: Make, frames: Frames) -> None:
    free, held = make(lr=0.05), make(lr=0.05, anchor=1e3)
    assert play(held, frames).distance < play(free, frames).distance


def test_rdumb_goes_back_on_time_whatever_the_round(make: Make, frames: Frames) -> None:
    """Four steps of age before, a reset every five: the second step starts at the base."""
    setup = make(strategy="rdumb", rdumb_of="entropy", rdumb_steps=5, lr=0.05)
    play(replace(setup, settings=replace(setup.settings, strategy="entropy")), frames)
    far: list[bool] = []
    made = STRATEGIES["rdumb"](replace(setup, age=4))
    for _ in range(3):
        made.step(Batch(to_images(frames[:1]), torch.ones(1, 64, 64, dtype=torch.bool)))
        far.append(not products_are_zero(setup))
    assert far == [True, False, False]  # nobody steps the optimiser here
    assert not setup.optimiser.state


def test_a_sabotaged_rate_ends_the_round(make: Make, frames: Frames) -> None:
    with pytest.raises(Diverged, match=r"adapt\.lr|from the base|accepted adapter"):
        play(make(lr=1e30, clip_norm=0.0, steps=6), frames)


def test_a_collapse_ends_the_round_with_its_number(make: Make, frames: Frames) -> None:
    with pytest.raises(Diverged, match=r"step \d+: 9\d\.\d% of the pixels are '"):
        play(make(strategy="entropy", lr=1.0, steps=60, clip_norm=0.0, max_class_share=0.9), frames)


def test_a_frame_of_hood_alone_is_refused(make: Make, frames: Frames) -> None:
    all_of_it = ((0.0, 0.0), (1.1, 0.0), (1.1, 1.1), (0.0, 1.1))
    with pytest.raises(ConfigError, match="whole frame"):
        play(make(hood=(all_of_it,)), frames)


def test_a_round_stops_in_time(make: Make, frames: Frames) -> None:
    assert play(make(deadline_s=1e-9, steps=1000), frames).steps == 0


def plain_loss(setup: Setup, images: Tensor, settings: AdaptConfig) -> float:
    """The first step as the papers write it, in full, no hood: teacher = student = the base."""
    network, words = network_of(setup.model), setup.words
    with torch.no_grad():
        strings = F.interpolate(network(images, words.embed()), images.shape[-2:], mode="bilinear")
        names = network(images, words.embed_names())
    p = strings.softmax(1)
    agg = torch.stack([p[:, 0], p[:, 1:4].sum(1), p[:, 4:6].sum(1), p[:, 6]], 1)
    total = 0.0
    for image, logits in zip(agg, names, strict=True):
        best = image.mean((1, 2)).argsort(descending=True)[: settings.top_k or 4].sort().values
        prob, target = image[best].max(0)
        student = F.interpolate(logits[None], prob.shape, mode="bilinear")[0]
        if settings.top_k:
            student = F.interpolate(
                network(images[:1], words.embed_names()[best]), prob.shape, mode="bilinear"
            )[0]
        each = F.cross_entropy(student[None], target[None], reduction="none")
        sure = prob > settings.tau if settings.tau_strict else prob >= settings.tau
        weight = {"none": 1.0, "q_image": sure.float().mean(), "pixel": prob[None]}
        total += (each * weight[settings.weighting]).mean().item()
    return total / len(agg)


@pytest.mark.parametrize("variant", ["v1", "v2"])
@pytest.mark.parametrize(
    ("name", "keys"), [("released", {}), ("paper", {"tau": 0.4, "top_k": 2}),
                       ("released", {"weighting": "pixel"})],
)  # fmt: skip
def test_the_published_step_is_the_plain_one(
    make: Make, frames: Frames, variant: str, name: Any, keys: dict[str, Any]
) -> None:
    setup = make(variant, preset(name, blocks=2, **STILL, **keys))
    images = to_images(frames[:1])
    batch = Batch(images, torch.ones(1, 64, 64, dtype=torch.bool))
    step = VocAlign(setup).step(batch)
    assert step.loss == pytest.approx(plain_loss(setup, images, setup.settings), rel=1e-5)
    assert int(step.said.sum()) == 16 * 16
    assert any(bool(p.grad.any()) for p in lora_tensors(setup.model).values() if p.grad is not None)
