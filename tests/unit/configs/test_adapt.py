"""Presets and what they promise: every number from the paper, the released code, or before."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from acclimate.configs import adapt
from acclimate.configs.adapt import PRESETS, AdaptConfig, preset
from acclimate.configs.schema import parse_config, to_dict
from acclimate.errors import ConfigError

BEFORE_PRESETS = {
    "steps": 40, "batch": 2, "lr": 1.5e-3, "rank": 4, "alpha": 4.0, "blocks": 4, "top_k": 0,
    "tau": 0.5, "weighting": "q_image", "mask_ratio": 0.2, "mask_block": 16, "jitter": 0.2,
    "hue": 0.2 / 4, "ema": 0.999, "ema_warmup": False, "ignore_pruned": True, "balance": 0.5,
    "colour": "lifted", "mirror": True, "flip": 0.5, "clip_norm": 1.0, "weight_decay": 1e-4,
    "schedule": "linear", "alignment": "both", "keep_safety": True, "ignore_unsure": True,
    "prune_student": True, "projections": ("q", "k", "v"), "towers": "both", "crop": 0,
    "adapter_decay": 0.0, "anchor": 0.0, "hood_auto": False, "lora_scale": "alpha/sqrt(r)",
}  # fmt: skip
PAPER = {
    "lr": 5e-5, "warmup_steps": 500, "steps": 40_000, "batch": 2, "rank": 2, "blocks": 4,
    "top_k": 15, "tau_strict": True, "weighting": "q_image", "ema": 0.99, "mask_ratio": 0.7,
    "guidance": "student", "crop": 512, "alignment": "teacher",
}  # fmt: skip
RELEASED = {
    "lr": 5e-6, "warmup_steps": 100, "warmup_from": 0.01, "steps": 40_000, "batch": 2, "rank": 1,
    "alpha": 1.0, "blocks": 5, "lora_scale": "alpha/sqrt(r)", "top_k": 0, "tau": 0.968,
    "tau_strict": False, "weighting": "none", "ema": 0.99, "ema_warmup": True, "mask_ratio": 0.7,
    "mask_block": 16, "guidance": "clean", "jitter": 0.5, "hue": 0.25, "grayscale": 0.2,
    "blur": 0.5, "flip": 0.0, "crop": 384, "crop_scale": (0.5, 2.0), "weight_decay": 1e-4,
    "clip_norm": 0.0, "alignment": "teacher", "ignore_pruned": False, "balance": 0.0,
    "mirror": False, "ignore_unsure": False,
}  # fmt: skip


def adapted(**keys: Any) -> AdaptConfig:
    return parse_config({"adapt": keys}).adapt


@pytest.mark.parametrize(
    ("name", "values"), [("continual", BEFORE_PRESETS), ("paper", PAPER), ("released", RELEASED)]
)
def test_a_preset_is_its_source(name: str, values: dict[str, Any]) -> None:
    settings = adapted(preset=name)
    assert {key: getattr(settings, key) for key in values} == values
    assert settings.preset == name


def test_without_a_preset_it_is_the_continual_one() -> None:
    assert adapted() == AdaptConfig() == adapted(preset="continual") == preset("continual")


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_key_overrides_its_preset_and_the_values_show(name: Any) -> None:
    config = parse_config({"adapt": {"preset": name, "rank": 7}})
    assert config.adapt == preset(name, rank=7)
    shown = json.loads(json.dumps(to_dict(config)))
    assert shown["adapt"]["rank"] == 7
    assert shown["adapt"]["lr"] == config.adapt.lr
    assert parse_config(shown) == config


def test_presets_name_only_keys_that_there_are() -> None:
    known = {field.name for field in fields(AdaptConfig)}
    assert all(values.keys() <= known for values in PRESETS.values())
    assert known >= adapt.SHARES | adapt.MAY_BE_ZERO


def test_every_key_is_explained() -> None:
    text = AdaptConfig.__doc__ or ""
    left = {field.name for field in fields(AdaptConfig) if f"`{field.name}`" not in text}
    assert left <= {"enabled", "preset", "strategy", "steps", "batch"}


@pytest.mark.parametrize("name", ["Paper", "", None, 3, [], {}])
def test_an_unknown_preset_is_answered_with_the_known(name: object) -> None:
    with pytest.raises(ConfigError, match=r"adapt\.preset: .* continual, paper, released"):
        adapted(preset=name)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"projections": []}, "adapt.projections: name one or more"),
        ({"projections": ["q", "q"]}, "adapt.projections: name one or more"),
        ({"projections": ["q", "out"]}, "adapt.projections: out of the image tower"),
        ({"crop_scale": [2, 1]}, "adapt.crop_scale: 2 must not be above 1"),
    ],
)
def test_what_keys_say_about_each_other_is_checked(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"adapt": keys, "serving": {"threads": 0}})
    assert len(caught.value.problems) == 2
    assert any(problem.startswith(named) for problem in caught.value.problems)


def test_the_text_tower_may_adapt_its_output() -> None:
    assert adapted(projections=["out"], towers="text").projections == ("out",)
