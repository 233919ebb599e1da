"""What people ask for by hand, of a running daemon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acclimate.daemon.journal import history
from acclimate.daemon.state import State
from acclimate.errors import SwapRefused
from tests.unit.daemon.conftest import DAY, DUSK, NIGHT, House
from tests.unit.daemon.test_registry import adopted, bundle, vanish


def test_a_rollback_by_hand_quarantines_and_is_not_undone(house: House) -> None:
    name = house.settle()
    house.command(do="rollback", to="base")
    assert (house.state.active, house.state.good) == ("base", ["base"])
    assert house.state.quarantined == {name: "manual"}
    house.drive(DUSK)
    assert house.state.active == "base"
    assert house.metric("acclimate_rollbacks_total", "manual") == 1


def test_a_rollback_by_hand_finds_its_own_way(house: House) -> None:
    house.settle()
    house.command(do="rollback")
    assert house.state.active == "base"


def test_an_older_adapter_that_was_never_proven_is_watched(house: House, tmp_path: Path) -> None:
    house.life.registry.adopt("kept", bundle(tmp_path / "by hand", "kept"))
    house.settle()
    house.command(do="rollback", to="kept")
    assert house.state.active == "kept"
    assert house.life.probation is not None


def test_quarantine_of_the_active_adapter_rolls_back(house: House) -> None:
    name = house.settle()
    house.command(do="quarantine", id=name)
    assert house.state.active == house.serving.active == "base"
    assert house.state.quarantined == {name: "manual"}


def test_quarantine_of_another_adapter_only_notes_it(house: House) -> None:
    name = house.settle()
    house.drive(DAY)
    house.command(do="quarantine", id=name)
    assert house.state.quarantined == {name: "manual"}
    assert (house.state.good, house.kinds[-1]) == (["base"], "quarantined")


def test_a_rollback_ends_a_running_round(house: House) -> None:
    house.settle()
    house.drive(NIGHT)
    assert house.life.rounds.now is not None
    house.command(do="rollback", to="base")
    assert (house.life.rounds.now, len(house.killed)) == (None, 1)


def test_two_hasty_commands_do_not_get_into_each_others_way(house: House, tmp_path: Path) -> None:
    adopted(house.life.registry, tmp_path / "by hand", "a1", "a2")
    house.serving.active = "a2"
    house.serving.deaf = True
    for _ in range(2):
        house.ask(do="rollback", to="a1")
    house.ticks()
    assert house.life.swapping is not None
    assert list(house.state.quarantined) == ["a2"]
    house.serving.take_up("a1")
    house.ticks()
    assert (house.state.active, list(house.state.quarantined)) == ("a1", ["a2"])
    assert "serves already" in house.last("command_refused")["reason"]


@pytest.mark.parametrize(
    "command",
    [
        {"do": "rollback", "to": "nobody"},
        {"do": "rollback", "to": "base"},
        {"do": "rollback"},
        {"do": "quarantine", "id": "nobody"},
        {"do": "quarantine", "id": "base"},
        {"do": "quarantine"},
        {"do": "dance"},
        {},
    ],
    ids=str,
)
def test_a_foolish_command_is_refused(house: House, command: dict[str, str]) -> None:
    house.command(**command)
    assert house.kinds == ["command_refused"]
    assert house.last("command_refused")["command"] == command
    assert house.state == State()


def test_the_quarantined_cannot_be_rolled_back_to(house: House) -> None:
    name = house.adapt()
    house.drive(DUSK, share=1.0)
    house.command(do="rollback", to=name)
    assert house.state.active == house.serving.active == "base"
    assert house.kinds[-1] == "command_refused"


# ---- pause, resume, adapt-now


def test_a_pause_cancels_the_round_and_lets_none_begin(house: House) -> None:
    house.settle()
    house.drive(NIGHT)
    assert house.life.rounds.now is not None
    answer = house.command(do="pause", seconds=None)
    assert "acclimate resume" in answer.result(0)
    assert (house.life.rounds.now, len(house.killed)) == (None, 1)
    house.drive(NIGHT)
    assert house.life.rounds.now is None
    assert house.life.rounds.waiting == "paused"
    assert house.last("paused")["actor"] == "user anna via socket"
    house.open()  # after a power cut
    house.drive(NIGHT)
    assert (house.life.rounds.now, house.life.rounds.waiting) == (None, "paused")
    assert house.command(do="resume").result(0) == "rounds may start again"
    house.drive(NIGHT)
    assert house.life.rounds.now is not None


def test_a_pause_ends_by_itself(house: House) -> None:
    house.settle()
    house.command(do="pause", seconds=1e-6)
    assert house.state.paused is None
    assert house.last("resumed")["actor"] == "pause"


def test_a_pause_is_heeded_while_a_swap_hangs(house: House) -> None:
    house.settle()
    house.serving.deaf = True
    hanging = house.command(do="rollback", to="base")
    assert house.command(do="pause", seconds=None).done()
    assert not hanging.done()


def test_a_round_by_hand_needs_no_drift(house: House) -> None:
    house.drive(DAY)
    answer = house.command(do="adapt", reason="new windscreen")
    assert answer.result(0) == "round a0001 has begun"
    assert house.last("round_started")["reason"] == "new windscreen, by user anna via socket"


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (lambda house: None, "0 of 2 frames"),
        (lambda house: house.drive(DAY, blind=True), "blinded"),
        (lambda house: house.adapt(), "probation"),
        (lambda house: (house.drive(DAY), house.command(do="adapt")), "under way"),
        (lambda house: (house.drive(DAY), house.command(do="pause")), "paused"),
        (lambda house: (house.drive(DAY), house.command(do="pin", id="base")), "base is pinned"),
    ],
    ids=["frames", "blind", "probation", "busy", "paused", "pinned"],
)
def test_a_round_by_hand_is_refused_with_the_reason(
    house: House, before: Callable[[House], object], why: str
) -> None:
    before(house)
    with pytest.raises(SwapRefused, match=why):
        house.command(do="adapt").result(0)


# ---- pins


def test_what_is_pinned_is_not_recalled_and_no_round_begins(house: House) -> None:
    name = house.settle()
    assert house.command(do="pin", id=name).result(0) == f"{name} serves and is pinned"
    house.drive(DAY)
    assert house.state.active == name
    house.drive(NIGHT)
    assert (house.state.active, house.life.rounds.now) == (name, None)
    house.command(do="pin", id=None)
    house.drive(DAY)
    assert house.state.active == "base"


def test_a_pin_swaps_to_its_adapter_and_cancels_the_round(house: House) -> None:
    name = house.settle()
    house.drive(NIGHT)
    assert house.command(do="pin", id="base", reason="demo").result(0).startswith("base serves")
    assert (house.state.active, house.state.pinned, house.state.quarantined) == ("base", "base", {})
    assert house.life.rounds.now is None
    assert house.history[-1] == ("user anna via socket", name, "base")
    house.open()
    house.drive(DUSK)
    assert (house.state.active, house.state.pinned) == ("base", "base"), "restarts change nothing"


def test_a_pinned_adapter_that_fails_its_probation_goes(house: House, tmp_path: Path) -> None:
    house.life.registry.adopt("kept", bundle(tmp_path / "by hand", "kept"))
    house.drive(DAY)
    house.command(do="pin", id="kept")
    assert (house.state.active, house.state.pinned) == ("kept", "kept")
    house.drive(DAY, share=1.0)
    assert (house.state.active, house.state.pinned) == ("base", None)
    assert "kept" in house.state.quarantined


def test_a_pinned_adapter_that_is_gone_is_pinned_no_more(house: House) -> None:
    name = house.settle()
    house.command(do="pin", id=name)
    vanish(house.life.registry, name)
    house.open()
    house.life.start()
    assert (house.state.active, house.state.pinned) == ("base", None)


def test_a_rollback_by_hand_ends_a_pin(house: House) -> None:
    house.command(do="pin", id=house.settle())
    house.command(do="rollback")
    assert (house.state.active, house.state.pinned) == ("base", None)


def test_a_candidate_on_its_way_when_the_runtime_died_does_not_replace_a_pin(house: House) -> None:
    name = house.settle()
    house.command(do="pin", id="base")
    house.life.shadow.now = name
    house.serving.crash()
    house.ticks(1)
    house.serving.dead = False
    house.ticks()
    assert house.state.active == "base"


# ---- answers and history


def test_a_rollback_is_answered_once_the_older_one_serves(house: House) -> None:
    house.settle()
    house.serving.deaf = True
    answer = house.command(do="rollback")
    assert not answer.done()
    house.serving.take_up("base")
    house.ticks()
    assert answer.result(0) == "base serves"


def test_a_rollback_that_the_runtime_refuses_is_told_so(house: House, tmp_path: Path) -> None:
    adopted(house.life.registry, tmp_path / "by hand", "a1", "a2")
    house.serving.active = "a2"
    house.serving.refuse = {"a1"}
    answer = house.command(do="rollback", to="a1")
    with pytest.raises(SwapRefused, match="a1 did not take over, base serves"):
        answer.result(0)
    assert house.history == [("runtime", "a2", "base")]


def test_a_full_disk_answers_too(house: House, full_disk: Callable[[bool], None]) -> None:
    full_disk(True)
    answer = house.command(do="pin", id="base")
    assert answer.result(0), "memory is the truth until there is room"
    full_disk(False)
    house.ticks()
    house.open()
    assert house.state.pinned == "base"


def test_every_change_has_an_actor_and_a_reason(house: House) -> None:
    name = house.settle()
    house.drive(DAY)
    house.drive(DUSK)
    house.command(do="rollback", reason="it looks wrong")
    assert house.history == [
        ("gate", "base", name), ("recall", name, "base"), ("recall", "base", name),
        ("user anna via socket", name, "base"),
    ]  # fmt: skip
    rows = [event for event in house.log.events if event["event"] == "served"]
    assert [row["reason"] for row in rows][-1] == "manual (it looks wrong)"
    assert all(row["reason"] and row["time"] for row in rows)
    assert list(history(house.folder / "events.jsonl"))[-1]["to"] == "base"


def test_probation_and_restarts_are_actors(house: House) -> None:
    name = house.adapt()
    house.drive(DUSK, share=1.0)
    assert house.history[-1] == ("probation", name, "base")
    other = house.adapt(NIGHT)
    house.open()
    house.life.start()
    assert house.history == [("probation", other, "base")]


def test_what_a_full_disk_did_not_take_is_said(
    house: House, full_disk: Callable[[bool], None]
) -> None:
    name = house.settle()
    full_disk(True)
    answer = house.command(do="pin", id=name)
    assert "the disk does not take it" in answer.result(0)
    full_disk(False)
    house.ticks()
    assert not house.life.registry.unsaved
    assert house.command(do="pin", id=None).result(0) == f"{name} is pinned no more"
