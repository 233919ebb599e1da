"""Why now? Every condition that a round waits for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acclimate.configs.schema import Config, parse_config
from acclimate.daemon.scheduler import NEW_FRAMES, Situation, waits, why_now

CONFIG = parse_config({"drift": {"threshold": 2.5}, "adapt": {"cooldown_s": 5, "min_frames": 24}})
DUE = Situation(
    busy=False, drift=2.5, alarm=True, blind=False, parked=False, since_round=5.0, buffered=24,
    new_frames=NEW_FRAMES, budget=1.0,
)  # fmt: skip
HELD = {
    "a round is under way": {"busy": True},
    "blinded": {"blind": True},
    "parked": {"parked": True},
    "cool-down": {"since_round": 4.9},
    "23 of 24 frames": {"buffered": 23},
    "new frames": {"new_frames": NEW_FRAMES - 1},
    "budget": {"budget": 0.99},
}


def test_it_starts_when_everything_is_just_enough() -> None:
    assert why_now(DUE, CONFIG) == "drift 2.5, the alarm is at 2.5"
    assert waits(DUE, CONFIG) is None


@pytest.mark.parametrize("change", [{"drift": None}, {"alarm": False}])
def test_without_an_alarm_there_is_no_reason(change: dict[str, object]) -> None:
    assert why_now(replace(DUE, **change), CONFIG) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", HELD)
def test_it_waits_for_each_and_says_so(reason: str) -> None:
    held = replace(DUE, **HELD[reason])
    assert waits(held, CONFIG) == reason
    assert why_now(held, CONFIG) is None


def test_an_alarm_that_fades_may_still_start_one() -> None:
    assert why_now(replace(DUE, drift=1.9), CONFIG) == "drift 1.9, the alarm is at 2.5"


def test_the_first_round_has_no_cooldown() -> None:
    assert why_now(replace(DUE, since_round=float("inf")), CONFIG)


def test_it_can_be_switched_off() -> None:
    off = replace(Config(), adapt=replace(CONFIG.adapt, enabled=False))
    assert why_now(replace(DUE, drift=99.0), off) is None
    assert waits(DUE, off) == "adaptation is off"
