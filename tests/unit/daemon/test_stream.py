"""When to adapt, and when not: a stream that drifts, stands still or sees nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from acclimate.daemon import scheduler as module
from acclimate.daemon.status import snapshot
from acclimate.daemon.trigger import Budget
from tests.unit.daemon.conftest import DAY, DUSK, NIGHT, House


@pytest.mark.parametrize("how", ["blind", "parked"])
def test_the_first_condition_is_not_measured_there(house: House, how: str) -> None:
    house.drive(DAY, **{how: True})
    assert house.kinds == []
    house.drive(DAY)
    assert house.kinds == ["reference"]


def test_a_report_that_is_not_finite_is_forgotten(house: House) -> None:
    house.drive(DAY, times=2)
    house.drive(float("nan"), times=2)
    house.drive(DAY)
    assert house.kinds == ["reference"]
    assert (reference := house.state.reference) is not None
    assert reference["mean"] == reference["mean"]
    house.drive(DUSK)
    assert house.parents == ["base"]


def test_another_base_has_a_condition_of_its_own(house: House) -> None:
    house.drive(DAY)
    manifest = house.folder / "adapters" / "base" / "manifest.json"
    manifest.write_text(json.dumps({"id": "base", "sequence": 0, "base_digest": "another"}))
    house.open()
    house.drive(NIGHT)
    assert house.kinds == ["reference"]
    assert house.parents == [], "the night is where it was first seen"
    house.drive(DAY)
    assert house.parents == ["base"]


def test_a_condition_of_another_size_is_none(house: House) -> None:
    house.life.registry.state.reference = {"mean": [0.0, 0.0, 0.0], "spread": 1.0}
    house.drive(DAY)
    assert house.life.stream.level is None


def test_a_parked_camera_rings_but_starts_nothing_until_it_moves(house: House) -> None:
    house.drive(DAY)
    house.drive(DUSK, parked=True)
    assert house.life.stream.alarm
    assert snapshot(house.life)["alarm"] == "on; waits: parked"
    assert house.parents == []
    house.drive(DUSK)
    assert house.parents == ["base"]


def test_a_covered_camera_is_not_believed(house: House) -> None:
    house.drive(DAY)
    before = house.life.stream.ratio
    house.drive(DUSK, blind=True)
    assert (house.life.stream.ratio, house.life.stream.alarm) == (before, False)
    assert house.parents == []


def test_an_alarm_waits_while_the_camera_is_covered(house: House) -> None:
    house.drive(DAY)
    house.serving.stream(DUSK)
    house.serving.stream(DUSK, blind=True, times=1)
    house.ticks()
    assert snapshot(house.life)["alarm"] == "on; waits: blinded"
    assert house.parents == []


def test_probation_waits_for_a_camera_that_sees(house: House) -> None:
    name = house.adapt()
    house.drive(DUSK, confidence=0.1, blind=True)
    assert (house.state.active, house.state.quarantined) == (name, {})
    assert house.life.probation is not None
    house.drive(DUSK, confidence=0.1)
    assert "confidence_drop" in house.state.quarantined[name]


def test_nothing_is_recalled_for_a_covered_camera(house: House) -> None:
    name = house.settle()
    house.drive(DAY, blind=True)
    assert house.state.active == name
    house.drive(DAY)
    assert house.state.active == "base"


def test_entropy_alone_can_ring(house: House) -> None:
    for _ in range(3):
        house.drive(DAY)
    house.drive(DAY, entropy=0.3)
    assert house.parents == ["base"]
    assert house.metric("acclimate_drift_alarms_total") == 1
    assert house.metric("acclimate_drift_level_ratio", "entropy") > 1
    assert house.metric("acclimate_drift_ratio") < 1, "the distance is told apart"


def test_another_adapter_has_its_own_usual(house: House) -> None:
    """Its entropy is higher than the base's ever was, and that is no drift."""
    house.adapt()
    for _ in range(3):
        house.drive(DUSK, entropy=0.3)
    assert not house.life.stream.alarm
    assert house.parents == ["base"]
    house.drive(DUSK, entropy=0.5)
    assert house.life.stream.alarm


def test_a_spent_budget_holds_rounds_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NEW_FRAMES", 0)
    rounds = house.life.rounds
    rounds._budget = Budget(per_hour=1, burst=2)
    house.outcome = module.Outcome("refused", ("no",), 1.0)
    house.drive(DAY)
    for _ in range(4):
        house.drive(DUSK)
    assert house.kinds.count("round_started") == 2
    assert rounds.waiting == "budget"
    rounds.start("by hand", "validate")
    assert house.kinds.count("round_started") == 3, "only drift's own rounds are counted"


def test_without_a_look_of_an_older_runtime_nothing_is_held(house: House) -> None:
    house.life.stream.last = {"buffer": {}}
    assert not house.life.stream.blind
    assert not house.life.stream.parked
    assert replace(house.life.rounds.situation, busy=True).blind is False
