"""Why now? Every condition that a round waits for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acclimate.configs.schema import Config, parse_config
from acclimate.daemon.scheduler import NEW_FRAMES, Situation, why_now

CONFIG = parse_config({"drift": {"threshold": 2.5}, "adapt": {"cooldown_s": 5, "min_frames": 24}})
DUE = Situation(busy=False, drift=2.5, since_round=5.0, buffered=24, new_frames=NEW_FRAMES)


def test_it_starts_when_everything_is_just_enough() -> None:
    assert why_now(DUE, CONFIG) == "drift 2.5 is above 2.5"


@pytest.mark.parametrize(
    "change",
    [
        {"busy": True},
        {"drift": None},
        {"drift": 2.49},
        {"since_round": 4.9},
        {"buffered": 23},
        {"new_frames": NEW_FRAMES - 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_it_waits_for_each(change: dict[str, object]) -> None:
    assert why_now(replace(DUE, **change), CONFIG) is None  # type: ignore[arg-type]


def test_the_first_round_has_no_cooldown() -> None:
    assert why_now(replace(DUE, since_round=float("inf")), CONFIG)


def test_it_can_be_switched_off() -> None:
    off = replace(Config(), adapt=replace(CONFIG.adapt, enabled=False))
    assert why_now(replace(DUE, drift=99.0), off) is None
