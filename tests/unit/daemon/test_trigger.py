"""Hand-made levels and clocks: when there is an alarm, and how many rounds it may cost."""

from __future__ import annotations

from itertools import accumulate

import pytest

from acclimate.configs.drift import DriftConfig
from acclimate.daemon.trigger import Budget, alarmed

CONFIG = DriftConfig(threshold=2.0, release=0.75)


def alarms(*levels: float | None) -> str:
    """x where there is an alarm."""
    states = accumulate(levels, lambda before, now: alarmed(before, now, CONFIG), initial=False)
    return "".join("x" if state else "." for state in list(states)[1:])


@pytest.mark.parametrize(
    ("levels", "wanted"),
    [
        ((1.0, 1.9, 1.99), "..."),
        ((1.0, 2.0, 1.9, 1.51, 1.5, 1.49, 1.9), ".xxxx.."),
        ((2.5, 1.0, 2.5), "x.x"),
        ((1.99, 2.01, 1.99, 2.01), ".xxx"),  # what hovers at the threshold rings once
        ((3.0, None, 1.9), "x.."),
        ((float("nan"),), "."),
    ],
)
def test_it_rings_at_the_threshold_and_ends_clearly_below(
    levels: tuple[float], wanted: str
) -> None:
    assert alarms(*levels) == wanted


def test_a_release_of_one_is_no_hysteresis() -> None:
    assert not alarmed(True, 1.99, DriftConfig(threshold=2.0, release=1.0))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def spent(budget: Budget, wishes: int) -> int:
    """How many of so many wishes are granted."""
    granted = 0
    for _ in range(wishes):
        if budget.left >= 1:
            budget.spend()
            granted += 1
    return granted


def test_a_burst_at_once_then_so_many_an_hour() -> None:
    clock = Clock()
    budget = Budget(per_hour=20, burst=6, clock=clock)
    assert spent(budget, 100) == 6
    clock.now = 179
    assert spent(budget, 100) == 0
    clock.now = 180
    assert spent(budget, 100) == 1
    granted = 0
    for second in range(181, 180 + 3660):
        clock.now = second
        granted += spent(budget, 1)
    assert granted == 20


def test_what_is_not_used_is_not_piled_up() -> None:
    clock = Clock()
    budget = Budget(per_hour=20, burst=6, clock=clock)
    clock.now = 1e6
    assert spent(budget, 100) == 6


def test_without_a_limit_there_is_always_one() -> None:
    assert spent(Budget(per_hour=0, burst=6, clock=Clock()), 100) == 100


def test_other_limits_keep_what_was_spent() -> None:
    clock = Clock()
    budget = Budget(60, 6, clock)
    assert spent(budget, 4) == 4
    budget.change(60, 3)
    assert spent(budget, 9) == 2
    budget.change(60, 5)
    assert spent(budget, 9) == 2, "two more than before may be spent at once"
    budget.change(3600, 5)
    clock.now += 3
    assert spent(budget, 9) == 3
