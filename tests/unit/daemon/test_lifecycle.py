"""The life of an adapter with a scripted serving process and scripted rounds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acclimate.daemon import lifecycle as module
from acclimate.daemon import registry as registry_module
from acclimate.daemon.registry import Registry
from acclimate.daemon.rounds import Outcome
from acclimate.daemon.status import snapshot
from acclimate.errors import EngineError
from tests.unit.daemon.conftest import DAY, DUSK, NIGHT, House
from tests.unit.daemon.test_registry import adopted, bundle

# ---- the way of a good candidate


def test_drift_starts_a_round_and_a_good_candidate_becomes_good(house: House) -> None:
    name = house.settle()
    assert house.kinds == [
        "reference", "round_started", "round_ended", "swapped", "probation_passed",
    ]  # fmt: skip
    assert (house.state.active, house.state.previous) == (name, "base")
    assert house.state.good == ["base", name]
    assert house.serving.active == name


def test_its_books_are_kept(house: House) -> None:
    name = house.settle()
    assert house.last("round_started")["reason"].startswith("drift ")
    assert house.last("round_ended")["numbers"] == {"agreement": 1.0}
    swapped = house.last("swapped")
    assert (swapped["since"], swapped["why"], swapped["frames_before"]) == ("base", "accepted", 120)
    assert house.metric("acclimate_rounds_total", "accepted") == 1
    assert house.metric("acclimate_swaps_total", "done") == 1
    assert house.metric("acclimate_active_adapter_info", name) == 1
    assert house.metric("acclimate_swap_gap_seconds_count") == 1
    assert house.metric("acclimate_last_swap_timestamp_seconds") > 0


def test_the_day_needs_no_round(house: House) -> None:
    for _ in range(3):
        house.drive(DAY)
    assert house.kinds == ["reference"]
    assert house.metric("acclimate_drift_ratio") < 1


def test_the_next_round_starts_from_the_accepted_adapter(house: House) -> None:
    name = house.settle()
    house.drive(NIGHT)
    assert house.parents == ["base", name]


def test_no_round_starts_during_a_probation(house: House) -> None:
    house.adapt()
    house.drive(NIGHT, times=1)
    assert house.life.probation is not None
    assert house.parents == ["base"]


def test_a_round_makes_room_for_its_candidate(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "KEPT", 1)
    for name in ("old", "older", "new"):
        house.life.registry.adopt(name, bundle(tmp_path / "by hand", name))
        house.life.registry.quarantine(name, "bad")
    house.settle()
    assert house.last("forgotten")["ids"] == ["new", "old"]
    assert house.kinds.index("forgotten") < house.kinds.index("round_started")
    assert set(house.state.quarantined) == {"old", "older", "new"}


# ---- candidates that do not make it


@pytest.mark.parametrize(
    ("signal", "named"),
    [({"confidence": 0.2}, "confidence_drop"), ({"share": 1.0}, "histogram_js")],
)
def test_a_regression_in_probation_is_rolled_back(house: House, signal: Any, named: str) -> None:
    name = house.adapt()
    house.drive(DUSK, **signal)
    assert house.state.active == house.serving.active == "base"
    assert house.state.quarantined[name].startswith(named)
    assert house.last("rolled_back")["reason"].startswith(named)
    assert house.last("swapped")["why"] == "rollback"
    assert house.metric("acclimate_rollbacks_total", named) == 1
    assert house.life.probation is None, "the base is proven"


def test_a_rollback_goes_to_the_adapter_before(house: House) -> None:
    dusk = house.settle()
    house.serving.stream(NIGHT)
    house.outcome = "accepted"
    house.ticks(2)
    house.outcome = None
    house.ticks()
    night = house.state.active
    assert night not in ("base", dusk)
    house.drive(NIGHT, share=1.0)
    assert house.state.active == house.serving.active == dusk
    assert list(house.state.quarantined) == [night]


@pytest.mark.parametrize("verdict", ["refused", "failed", "deadline", "memory", "no_data"])
def test_a_round_without_a_candidate_changes_nothing(house: House, verdict: str) -> None:
    house.drive(DAY)
    before = json.dumps([house.state.active, house.state.good, house.state.quarantined])
    house.serving.stream(DUSK)
    house.outcome = Outcome(verdict, ("because",), 1.0)
    house.ticks(2)
    assert json.dumps([house.state.active, house.state.good, house.state.quarantined]) == before
    assert house.life.registry.names() == ["base"]
    assert house.serving.active == "base"
    assert house.last("round_ended")["reasons"] == ["because"]
    assert house.metric("acclimate_rounds_total", verdict) == 1
    house.outcome = None
    house.drive(DUSK)
    assert house.kinds.count("round_started") == 2, "the next one works"


def test_what_the_runtime_refuses_is_quarantined_and_the_old_one_stays(house: House) -> None:
    house.serving.refuse = {"a0001"}
    house.nominate()
    house.ticks()
    assert house.state.active == house.serving.active == "base"
    assert house.state.quarantined == {"a0001": "refused by the runtime: probe labels differ"}
    assert house.last("swap_refused")["why"] == "accepted"
    assert house.metric("acclimate_swaps_total", "refused") == 1
    assert "rolled_back" not in house.kinds


def test_a_rollback_that_is_refused_goes_further_back(house: House) -> None:
    dusk = house.settle()
    house.serving.stream(NIGHT)
    house.outcome = "accepted"
    house.ticks(2)
    house.outcome = None
    house.ticks()
    house.serving.refuse = {dusk}
    house.drive(NIGHT, share=1.0)
    assert house.state.active == house.serving.active == "base"
    assert len(house.state.quarantined) == 2


def test_an_adapter_forced_past_the_gate_is_on_probation(house: House, tmp_path: Path) -> None:
    house.drive(DAY)
    house.life.force("wild", bundle(tmp_path / "elsewhere", "wild"))
    house.ticks()
    assert house.state.active == "wild"
    house.drive(DAY, share=1.0)
    assert house.state.active == "base"
    undone = house.last("swapped")
    assert (undone["since"], undone["frames_before"]) == ("wild", 60)


def test_an_answer_that_never_comes_is_a_refusal(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWAP_TIMEOUT", -1.0)
    house.serving.deaf = True
    house.nominate()
    house.ticks()
    assert "no answer" in house.state.quarantined["a0001"]
    monkeypatch.undo()
    house.serving.deaf = False
    house.serving.take_up("a0001")  # it comes after its time was up
    house.ticks()
    assert house.state.active == house.serving.active == "base"


# ---- crashes and restarts


def test_a_crash_in_probation_is_blamed_on_the_adapter(house: House) -> None:
    name = house.adapt()
    house.serving.crash()
    house.ticks()
    assert house.serving.started == ["base"]
    assert "crash" in house.state.quarantined[name]
    assert house.last("runtime_died")["exit_code"] == -9
    assert house.metric("acclimate_rollbacks_total", "crash") == 1
    assert house.metric("acclimate_runtime_restarts_total") == 1


def test_a_crash_outside_probation_keeps_the_adapter(house: House) -> None:
    name = house.settle()
    house.serving.crash()
    house.ticks()
    assert house.serving.started == [name]
    assert house.state.quarantined == {}


def test_a_crash_during_a_swap_keeps_the_old_adapter(house: House) -> None:
    house.serving.deaf = True
    house.nominate()
    assert house.life.swapping is not None
    house.serving.crash()
    house.ticks()
    assert (house.life.swapping, house.serving.started) == (None, ["base"])


def test_rounds_go_on_after_a_crash(house: House) -> None:
    for _ in range(3):
        house.drive(DAY)
    house.serving.stream(DUSK)
    house.outcome = Outcome("refused", ("no",), 1.0)
    house.ticks(2)
    house.outcome = None
    house.serving.crash()
    house.ticks(1)
    assert snapshot(house.life)["source"] == "connecting"
    house.drive(DUSK, times=1)  # the new process counts its admitted frames from 0
    assert house.kinds.count("round_started") == 2


def test_a_spent_restart_budget_ends_the_daemon(house: House) -> None:
    house.serving.budget = 0
    house.serving.crash()
    with pytest.raises(EngineError):
        house.life.tick()


def test_a_bundle_that_rotted_on_disk_is_set_aside(house: House) -> None:
    name = house.settle()
    house.serving.crash({"event": "error", "message": "probe is missing", "bundle": True})
    house.ticks()
    assert house.serving.started == ["base"]
    assert "probe is missing" in house.state.quarantined[name]
    whole = ["runtime_error", "quarantined", "runtime_died", "set_aside", "serving"]
    assert house.kinds[-5:] == whole


def test_however_many_bundles_rotted_the_base_serves_within_the_restart_budget(
    house: House, tmp_path: Path
) -> None:
    names = [f"a{number}" for number in range(1, 9)]
    adopted(house.life.registry, tmp_path / "by hand", *names)
    for _ in names:
        house.serving.crash({"event": "error", "message": "inputs were altered", "bundle": True})
        house.ticks(1)
    house.ticks()
    assert house.serving.active == house.state.active == "base"
    assert set(house.state.quarantined) == set(names)
    assert house.serving.forgiven == len(names)
    house.serving.crash({"event": "error", "message": "inputs were altered", "bundle": True})
    house.ticks()
    assert house.serving.forgiven == len(names), "the base's own deaths count"


def test_a_good_adapter_that_no_process_can_start_with_any_more_gives_way_to_the_base(
    house: House,
) -> None:
    name = house.settle()
    for house.serving.stillborn in (1, 2):
        house.serving.crash()
        house.ticks(1)
    house.ticks()
    assert house.serving.active == house.state.active == "base"
    assert "before its first frame" in house.state.quarantined[name]
    house.serving.stillborn = 3
    house.serving.crash()
    house.ticks()
    assert list(house.state.quarantined) == [name], "the base is blamed for nothing"
    assert house.serving.forgiven == 1


def test_a_base_that_is_refused_is_asked_again_and_not_at_once(house: House) -> None:
    house.adapt()
    house.serving.refuse = {"base"}
    house.drive(DUSK, share=1.0)
    house.ticks(20)
    assert house.kinds.count("swap_refused") == 1
    house.serving.refuse = set()
    assert house.life.swapping is not None
    house.life.swapping = (*house.life.swapping[:2], 0.0)  # its time is up
    house.ticks()
    assert house.serving.active == house.state.active == "base"


def test_any_other_error_is_no_adapters_fault(house: House) -> None:
    name = house.settle()
    house.serving.crash({"event": "error", "message": "no such film", "fatal": True})
    house.ticks()
    assert house.serving.started == [name]
    assert house.last("runtime_error")["message"] == "no such film"


def test_a_proven_adapter_serves_on_after_a_restart(house: House) -> None:
    name = house.settle()
    house.open()
    assert house.life.first_adapter() == name
    assert house.kinds == []


def test_an_adapter_on_probation_does_not_slip_in_through_a_restart(house: House) -> None:
    name = house.adapt()
    house.open()
    assert house.life.first_adapter() == "base"
    assert Registry(house.folder).state.active == "base"
    assert name not in house.state.quarantined
    assert house.last("set_aside")["reason"] == "it did not pass probation"


def test_a_pin_outlives_a_restart_during_probation(house: House) -> None:
    name = house.adapt()
    house.command(do="pin", id=name).result(0)
    house.open()
    assert house.life.first_adapter() == name
    assert house.state.pinned == name
    assert "set_aside" not in house.kinds


def test_what_is_gone_or_of_another_base_does_not_start(house: House, tmp_path: Path) -> None:
    adopted(house.life.registry, tmp_path / "by hand", "a1", "a2")
    (house.folder / "adapters" / "a2" / "manifest.json").unlink()
    assert house.life.first_adapter() == "a1"
    manifest = house.folder / "adapters" / "base" / "manifest.json"
    manifest.write_text(json.dumps({"id": "base", "base_digest": "a newer one"}))
    assert house.life.first_adapter() == "base"
    assert house.kinds == ["set_aside", "set_aside"]


def test_leftovers_are_swept_at_the_start(house: House) -> None:
    torn = house.folder / "adapters" / "a0009.tmp"
    torn.mkdir()
    house.open()
    assert not torn.exists()


def test_closing_cancels_a_round(house: House) -> None:
    house.drive(DAY)
    house.drive(DUSK)
    assert house.life.rounds.now is not None
    house.life.rounds.cancel()
    house.life.rounds.cancel()
    assert (house.killed, house.kinds[-1]) == (["a0001"], "round_cancelled")


def test_the_end_of_the_source_ends_the_life(house: House) -> None:
    house.serving.said.append({"event": "done", "ledger": {}, "reason": "ended"})
    house.serving.ended = True
    assert house.life.tick() is False


# ---- recalls


def test_the_base_is_recalled_when_the_day_returns(house: House) -> None:
    name = house.settle()
    house.drive(DAY)
    assert house.state.active == house.serving.active == "base"
    assert house.last("recalled")["instead_of"] == name
    assert house.life.probation is None, "it is proven already"
    assert house.parents == ["base"], "no round is needed"


def test_the_night_adapter_is_recalled_when_the_night_returns(house: House) -> None:
    name = house.settle()
    house.drive(DAY)
    house.drive(DUSK)
    assert house.state.active == name
    assert house.kinds.count("recalled") == 2


def test_a_recall_ends_a_round_that_has_become_pointless(house: House) -> None:
    house.settle()
    house.drive(NIGHT)
    assert house.life.rounds.now is not None
    house.drive(DAY)
    assert (house.state.active, house.life.rounds.now) == ("base", None)
    assert len(house.killed) == 1


def test_what_was_learned_goes_on_until_its_condition_ends(house: House, tmp_path: Path) -> None:
    """A round that failed had nothing to say of it only if it never came to learn."""
    learned = house.life.registry.learned
    house.settle()
    house.serving.stream(NIGHT)
    house.outcome = Outcome("refused", ("gain",), 1.0, learned=bundle(tmp_path, "l1"))
    house.ticks(3)
    assert learned.is_dir()
    assert house.last("round_ended")["goes_on"]
    house.outcome = Outcome("no_data", ("few",), 1.0)
    house.drive(NIGHT)
    assert learned.is_dir()
    house.outcome = None
    house.drive(DAY)
    assert (house.state.active, learned.exists()) == ("base", False)


# ---- a full disk stops adapting, never serving


def test_what_is_owed_to_a_disk_is_trouble_until_it_is_paid(house: House) -> None:
    refusals = [OSError(30, "Read-only file system") for _ in range(3)]
    paid: list[str] = []

    def write() -> None:
        if refusals:
            raise refusals.pop()
        paid.append("now")

    house.life.owe(write)
    assert "Read-only" in str(house.life.trouble)
    house.drive(DAY)
    assert (house.life.trouble, paid) == (None, ["now"])
    assert house.kinds.count("trouble") == 1


def test_on_a_full_disk_no_round_starts(house: House, full_disk: Callable[[bool], None]) -> None:
    house.drive(DAY)
    full_disk(True)
    house.drive(DUSK)
    assert house.kinds == ["reference", "trouble"]
    assert house.life.rounds.now is None
    assert "No space left" in snapshot(house.life)["trouble"]
    full_disk(False)
    house.drive(DUSK)
    assert house.kinds[-1] == "round_started"
    assert snapshot(house.life)["trouble"] is None


def test_on_a_full_disk_the_first_condition_is_still_measured(
    house: House, full_disk: Callable[[bool], None]
) -> None:
    full_disk(True)
    house.drive(DAY)
    assert house.life.stream.ratio is not None
    assert house.kinds.count("trouble") == 1
    full_disk(False)
    house.ticks()
    assert Registry(house.folder).state.reference is not None


def test_on_a_full_disk_a_regression_is_still_rolled_back(
    house: House, full_disk: Callable[[bool], None]
) -> None:
    name = house.adapt()
    full_disk(True)
    house.drive(DUSK, share=1.0)
    assert house.state.active == house.serving.active == "base"
    assert name in house.state.quarantined
    full_disk(False)
    house.ticks()
    assert Registry(house.folder).state == house.state


def test_on_a_full_disk_a_swap_is_still_watched(
    house: House, full_disk: Callable[[bool], None]
) -> None:
    house.serving.deaf = True
    house.nominate()
    full_disk(True)
    house.serving.deaf = False
    house.serving.take_up("a0001")
    house.ticks()
    assert (house.state.active, house.life.probation is None) == ("a0001", False)


def test_on_a_full_disk_a_crash_is_still_survived(
    house: House, full_disk: Callable[[bool], None]
) -> None:
    house.adapt()
    full_disk(True)
    house.serving.crash()
    house.ticks()
    assert house.serving.started == ["base"]


# ---- the end


def test_a_round_that_was_accepted_in_the_last_moment_is_kept(house: House) -> None:
    house.drive(DAY)
    house.serving.stream(DUSK)
    house.ticks(1)
    now = house.life.rounds.now
    assert now is not None
    house.outcome = "accepted"
    house.life.close()
    assert house.last("round_ended")["verdict"] == "accepted"
    assert house.life.registry.manifest(now.id) is not None
    assert house.killed == []
    house.open()
    assert house.life.registry.manifest(now.id) is not None


def test_a_round_that_is_not_done_is_cancelled(house: House) -> None:
    house.drive(DAY)
    house.serving.stream(DUSK)
    house.ticks(1)
    now = house.life.rounds.now
    assert now is not None
    house.life.close()
    assert house.killed == [now.id]
    assert house.life.registry.names() == ["base"]


def test_a_swap_that_happened_in_the_last_moment_is_in_the_truth(house: House) -> None:
    dusk = house.settle()
    house.serving.deaf = True
    house.command(do="rollback", to="base")
    assert house.state.active == dusk
    house.serving.last_words = [{
        "event": "swapped", "id": "base", "from": dusk, "frame": 1, "gap_ms": 0.1, "load_ms": 1.0,
        "vocabulary": house.serving.wanted,
    }]  # fmt: skip
    house.life.close()
    house.open()
    assert (house.state.active, list(house.state.quarantined)) == ("base", [dusk])


def test_a_full_disk_does_not_hold_up_the_end(
    house: House, full_disk: Callable[[bool], None]
) -> None:
    house.drive(DAY)
    house.serving.stream(DUSK)
    house.ticks(1)
    house.outcome = "accepted"
    full_disk(True)
    stopped: list[str] = []
    house.serving.stop = lambda: stopped.append("stopped") or []  # type: ignore[func-returns-value]
    house.life.close()
    assert stopped == ["stopped"]
