"""A candidate in the shadow: it serves only after its window, and nothing is lost on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from acclimate.configs.schema import ShadowConfig
from acclimate.daemon import lifecycle as module
from acclimate.daemon.status import doing, snapshot
from tests.unit.daemon.conftest import DAY, DUSK, House

CALM = {
    "event": "shadow", "beside": "base", "frames": 30, "wanted": 30, "seconds": 6.0,
    "computing_ms": 1500.0, "disagreement": 0.1, "regions": [[0.1, 0.2, 0.3]] * 3,
    "classes": {"pole": 0.4, "road": 0.02}, "share_jump": 0.01, "jumped": "road", "reasons": [],
    "untried": False,
}  # fmt: skip


@pytest.fixture
def shadowed(house: House) -> House:
    """A candidate was accepted and its window is open."""
    shadow = ShadowConfig(frames=30)
    house.life.config = replace(house.life.config, shadow=shadow)
    house.serving.deaf = True
    house.nominate()
    house.ticks()
    assert house.life.shadow.now == "a0001"
    return house


def report(house: House, **changes: Any) -> None:
    house.serving.said.append({**CALM, "id": "a0001", **changes})


def refuse(house: House, **changes: Any) -> None:
    report(house, reasons=["disagrees"], **changes)
    house.serving.said.append({"event": "refused", "id": "a0001", "reason": "disagrees"})
    house.ticks()


def test_the_old_one_serves_until_the_window_passed(shadowed: House) -> None:
    assert shadowed.state.active == shadowed.serving.active == "base"
    assert doing(shadowed.life) == "a0001 runs in the shadow of base"
    report(shadowed)
    shadowed.serving.take_up("a0001")
    shadowed.ticks()
    assert shadowed.kinds[-3:] == ["shadow_started", "shadow_ended", "swapped"]
    assert shadowed.state.active == "a0001"
    assert shadowed.life.probation is not None
    assert shadowed.life.shadow.now is None


def test_its_numbers_are_in_the_event_the_status_and_the_metrics(shadowed: House) -> None:
    report(shadowed)
    shadowed.ticks(1)
    ended = shadowed.last("shadow_ended")
    assert (ended["id"], ended["verdict"], ended["disagreement"]) == ("a0001", "passed", 0.1)
    assert (ended["regions"], ended["classes"]) == (CALM["regions"], CALM["classes"])
    told = snapshot(shadowed.life)["shadow"]
    assert told == "a0001 passed: 10.0% of the pixels of 30 live frames differ from base"
    assert shadowed.metric("acclimate_shadow_disagreement_ratio", "bottom right") == 0.3
    assert shadowed.metric("acclimate_shadow_class_disagreement_ratio", "pole") == 0.4
    assert shadowed.metric("acclimate_shadow_windows_total", "passed") == 1


def test_one_that_disagrees_is_refused_and_quarantined(shadowed: House) -> None:
    refuse(shadowed)
    assert shadowed.state.active == shadowed.serving.active == "base"
    assert shadowed.state.quarantined == {"a0001": "refused by the runtime: disagrees"}
    assert shadowed.last("shadow_ended")["verdict"] == "refused"
    assert shadowed.life.shadow.now is None


def test_one_that_saw_too_little_is_not_to_blame(shadowed: House) -> None:
    refuse(shadowed, untried=True)
    assert shadowed.state.active == "base"
    assert shadowed.state.quarantined == {}
    assert shadowed.last("shadow_ended")["verdict"] == "unfinished"


def test_a_later_refusal_without_a_window_is_its_own(shadowed: House) -> None:
    refuse(shadowed, untried=True)
    shadowed.life.swap("a0001", "accepted", "gate", "")
    shadowed.serving.said.append({"event": "refused", "id": "a0002", "reason": "torn"})
    shadowed.ticks()
    assert shadowed.state.quarantined == {"a0002": "refused by the runtime: torn"}


def test_the_stream_is_watched_while_the_window_is_open(shadowed: House) -> None:
    before = shadowed.life.stream.ratio
    shadowed.drive(DAY)
    assert before is not None
    assert shadowed.life.stream.ratio is not None
    assert shadowed.life.stream.ratio < before
    assert shadowed.kinds.count("round_started") == 1, "no round beside it"


def test_the_daemon_waits_for_the_window_and_not_for_ever(
    shadowed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWAP_TIMEOUT", -1.0)
    shadowed.life.swap("a0001", "accepted", "gate", "")
    shadowed.ticks()
    assert shadowed.life.swapping is not None, "the window has its own time"
    monkeypatch.setattr(module, "SWAP_TIMEOUT", -1000.0)
    shadowed.life.swap("a0001", "accepted", "gate", "")
    shadowed.ticks()
    assert (shadowed.life.swapping, shadowed.life.shadow.now) == (None, None)
    assert "no answer" in shadowed.state.quarantined["a0001"]


def test_a_crash_in_the_window_costs_nothing_but_time(shadowed: House) -> None:
    shadowed.serving.crash()
    shadowed.ticks()
    assert shadowed.serving.started == ["base"]
    assert shadowed.state.quarantined == {}
    assert shadowed.kinds.count("shadow_started") == 2, "a second window opens"
    report(shadowed)
    shadowed.serving.take_up("a0001")
    shadowed.ticks()
    assert shadowed.state.active == "a0001"


def test_a_second_crash_in_its_window_is_blamed_on_it(shadowed: House) -> None:
    for _ in range(2):
        shadowed.serving.crash()
        shadowed.ticks()
    assert shadowed.serving.started == ["base", "base"]
    assert "twice" in shadowed.state.quarantined["a0001"]
    assert shadowed.kinds.count("shadow_started") == 2
    assert (shadowed.life.swapping, shadowed.life.shadow.now) == (None, None)


def test_only_fresh_candidates_have_a_window(shadowed: House) -> None:
    report(shadowed)
    shadowed.serving.take_up("a0001")
    shadowed.serving.deaf = False
    shadowed.ticks()
    shadowed.drive(DUSK, share=1.0)
    assert shadowed.last("swapped")["why"] == "rollback"
    assert shadowed.kinds.count("shadow_started") == 1, "a rollback does not wait for one"
