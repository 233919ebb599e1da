"""The order of units, and a report from none, some or all of them."""

from __future__ import annotations

from typing import Any

from benchmarks.adaptation import results_of, units
from benchmarks.adaptation_plan import COLOURS, FREE, QUICKLY, WHOLE, Plan
from benchmarks.adaptation_tables import markdown
from benchmarks.resume import Unit
from benchmarks.ungated import UNGATED

CLASSES = 14


def tables(right: int) -> list[list[list[int]]]:
    """Two scenes of all classes; each IoU is right / (200 - right)."""
    wrong = 100 - right
    rows = [[right * (i == j) + wrong * (j == (i + 1) % CLASSES) for j in range(CLASSES)]
            for i in range(CLASSES)]  # fmt: skip
    return [rows, rows]


def result(unit: Unit, plan: Plan, right: int) -> dict[str, Any]:
    segments = [segment.name for segment in plan.segments(unit.stream)]
    parts = [f"colours_{name}" for name in COLOURS]
    rows = {
        FREE: ["frozen", "frozen_with_concepts", "gamma_and_filter", *parts],
        WHOLE: ["arriving", "before_round", WHOLE],
    }.get(unit.row, [unit.row])
    told = {"verdict": "refused", "recalled": [], "seconds": 30.0, "peak_mb": 900.0}
    rounds = [told | {"segment": name} for name in segments if name != "day_before"]
    return {
        "tables": {row: {name: tables(right) for name in segments} for row in rows},
        "rounds": rounds, "day_in_the_end": tables(right), "unit_seconds": 1.0,
    }  # fmt: skip


def test_the_whole_system_on_the_plain_base_comes_first_seed_by_seed() -> None:
    listed = units(Plan(), (11, 12, 13))
    assert [unit.name for unit in listed[:3]] == [
        "default-sudden-adapted-11", "default-gradual-adapted-11", "default-sudden-free-11",
    ]  # fmt: skip
    assert [unit.seed for unit in listed] == sorted(unit.seed for unit in listed)
    assert len(listed) == len(set(listed)) == 3 * 2 * 2 * (2 + len(UNGATED))


def test_without_units_everything_is_missing_and_nothing_is_claimed() -> None:
    results = results_of({}, Plan(), (11,))
    assert len(results["missing"]) == len(units(Plan(), (11,)))
    assert results["summary"] == results["summary_augmented"] == {"per_shift": {}, "seeds": []}
    assert all(one["met"] is None for one in results["targets"])
    assert "not measured" in markdown(results)


def test_summary_has_exactly_what_was_agreed() -> None:
    plan, wanted = Plan(), units(Plan(), (11, 12))
    found = {u: result(u, plan, 90 if u.row == WHOLE else 70 + u.seed - 11) for u in wanted}
    results = results_of(found, plan, (11, 12))
    assert results["missing"] == []
    assert set(results["summary"]) == {"per_shift", "seeds"}
    night = results["summary"]["per_shift"]["night"]
    keys = ["frozen", "frozen_with_concepts", "best_free", "adapted", "baselines"]
    assert list(night) == keys
    free = (100 * 70 / 130 + 100 * 71 / 129) / 2
    assert abs(night["best_free"] - free) < 0.01 and abs(night["adapted"] - 9000 / 110) < 0.01
    assert set(night["baselines"]) == set(UNGATED)
    assert results["summary_augmented"]["per_shift"].keys() == (
        results["summary"]["per_shift"].keys()
    )
    assert results["summary"]["seeds"] == [11, 12]
    assert results["of_rounds"]["default"]["verdicts"] == {"refused": 32}  # (7 + 9) x 2


def test_targets_are_met_or_not() -> None:
    plan, wanted = Plan(), units(Plan(), (11,))
    for right, met in ((90, True), (60, False)):
        found = {u: result(u, plan, right if u.row == WHOLE else 70) for u in wanted}
        results = results_of(found, plan, (11,))
        by_name = {one["what"]: one for one in results["targets"]}
        gain = by_name["plain base, gradual_night: gain over concepts"]
        assert (gain["at_least"], gain["met"]) == (10.0, met)
        assert by_name["augmented base, gain over best free: the least of all shifts"]["met"] is met
        assert by_name["default: back in the day, worst stream"]["met"] is met
        assert by_name["default: what was taken over what it replaced, worst"]["met"] is None


def test_quick_is_one_base_and_shorter() -> None:
    listed = units(QUICKLY, (11,))
    assert {unit.base for unit in listed} == {"default"}
    found = {unit: result(unit, QUICKLY, 80) for unit in listed}
    results = results_of(found, QUICKLY, (11,))
    assert results["missing"] == [] and results["summary_augmented"]["per_shift"] == {}
    assert "| day again |" in markdown(results)


def test_a_units_settings_are_its_own() -> None:
    free, whole = Unit("default", "sudden", FREE, 11), Unit("default", "sudden", WHOLE, 11)
    entropy, plan, other = whole._replace(row="entropy"), Plan(), Plan(steps=30)
    assert plan.settings_of(free) == other.settings_of(free)
    assert plan.settings_of(whole) == other.settings_of(whole)
    assert plan.settings_of(entropy) != other.settings_of(entropy)
    assert plan.settings_of(whole) != Plan(round_steps=3).settings_of(whole)
    assert plan.settings_of(whole) != plan.settings_of(whole._replace(base="augmented"))
