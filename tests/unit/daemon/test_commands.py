"""What people ask for by hand, of a running daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from acclimate.daemon.registry import State
from tests.unit.daemon.conftest import DAY, DUSK, NIGHT, House
from tests.unit.daemon.test_registry import adopted, bundle


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
        house.life.inbox.put({"do": "rollback", "to": "a1"})
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
