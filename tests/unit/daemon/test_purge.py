"""Frames leave: with and without a daemon, and what was removed is said."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acclimate.configs.control import ControlConfig
from acclimate.configs.schema import BufferConfig
from acclimate.daemon import purge as module
from acclimate.daemon.cli import main
from acclimate.daemon.main import only_one
from acclimate.daemon.purge import on_disk
from acclimate.daemon.registry import Registry
from acclimate.runtime.keys import new_secret
from acclimate.runtime.retention import memories
from tests.unit.daemon.conftest import House
from tests.unit.daemon.served import listening
from tests.unit.daemon.test_registry import adopted, bundle

Said = pytest.CaptureFixture[str]


def age(path: Path, hours: float) -> None:
    then = time.time() - 3600 * hours
    os.utime(path, (then, then))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """base <- a1 <- a2 (active), each with kept frames; 4 buffered frames, two of them old."""
    folder = tmp_path / "state"
    bundle(folder / "adapters", "base", 0)
    adopted(Registry(folder), tmp_path, "a1", "a2")
    (folder / "buffer").mkdir()
    for number, suffix in enumerate(("npz", "npz", "sealed", "sealed")):
        (folder / "buffer" / f"{number}-ab.{suffix}").touch()
    for name in ("0-ab.npz", "2-ab.sealed"):
        age(folder / "buffer" / name, 30)
    for name in ("a1", "a2"):
        (folder / "adapters" / name / "memory.safetensors").touch()
    age(folder / "adapters" / "a1" / "memory.safetensors", 30)
    (folder / "latest.jpg").touch()
    return folder


def left(state: Path) -> tuple[int, int]:
    return len(list((state / "buffer").iterdir())), len(memories(state))


def test_old_frames_alone(state: Path) -> None:
    told = on_disk(Registry(state), BufferConfig(), 24, memory=False, adapters=False)
    assert str(told) == "removed: 2 buffered frames"
    assert left(state) == (2, 2)
    assert (state / "latest.jpg").exists()


def test_all_frames_and_what_adapters_keep(state: Path) -> None:
    told = on_disk(Registry(state), BufferConfig(), 0, memory=True, adapters=False)
    assert str(told) == "removed: 4 buffered frames, 2 bundles' kept frames"
    assert left(state) == (0, 0)
    assert not (state / "latest.jpg").exists()
    assert Registry(state).state.active == "a2"


def test_what_adapters_keep_by_age(state: Path) -> None:
    on_disk(Registry(state), BufferConfig(), 24, memory=True, adapters=False)
    assert left(state) == (2, 1)


def test_the_key_goes_with_all_frames_and_with_no_others(state: Path, tmp_path: Path) -> None:
    new_secret(tmp_path / "key")
    config, before = BufferConfig(key_file=str(tmp_path / "key")), (tmp_path / "key").read_text()
    on_disk(Registry(state), config, 24, memory=True, adapters=False)
    assert (tmp_path / "key").read_text() == before
    told = on_disk(Registry(state), config, 0, memory=False, adapters=False)
    assert "was destroyed and a new one made" in str(told)
    assert (tmp_path / "key").read_text() != before


def test_a_key_that_cannot_be_replaced_is_said_loudly(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(module, "replace_secret", refuse)
    told = on_disk(Registry(state), BufferConfig(key_file="/etc/key"), 0, False, False)
    assert "THE KEY IS STILL THERE" in str(told)


def test_every_adapter_goes_but_what_was_quarantined_stays_remembered(state: Path) -> None:
    Registry(state).quarantine("a1", "it went wrong")
    bundle(state / "words" / "ab", "a2", 2)
    bundle(state, "learned", 3)
    told = on_disk(Registry(state), BufferConfig(), None, memory=False, adapters=True)
    assert str(told) == "removed: 2 adapters"
    registry = Registry(state)
    assert (registry.names(), registry.state.active, registry.state.good) == (
        ["base"], "base", ["base"],
    )  # fmt: skip
    assert registry.state.quarantined == {"a1": "it went wrong"}
    assert memories(state) == []
    assert not (state / "learned").exists()
    assert registry.next_name()[1] > "a0002"


def test_what_rotted_and_every_cameras_picture_go_too(state: Path) -> None:
    lost = state / "lost+found"
    for path in (lost / "buffer" / "7-ab.npz", lost / "adapters" / "a9" / "memory.safetensors"):
        path.parent.mkdir(parents=True)
        path.touch()
    for name in ("latest-rear.jpg", "latest-rear.png"):
        (state / name).touch()
    told = on_disk(Registry(state), BufferConfig(), 0, memory=True, adapters=False)
    assert str(told) == "removed: 5 buffered frames, 3 bundles' kept frames"
    assert not [p for p in state.rglob("*") if p.suffix in {".npz", ".jpg", ".png"}]
    assert memories(state) == []


# ---- the command line


def call(state: Path, *words: str) -> int:
    return main(["purge", *words, "--state", str(state)])


def test_it_says_what_was_removed_and_what_is_left(state: Path, capsys: Said) -> None:
    assert call(state, "--older-than", "24") == 0
    assert capsys.readouterr().out.splitlines() == [
        "removed: 2 buffered frames",
        "2 bundles keep frames for later gates (--adapters-memory)",
    ]
    assert call(state, "--all", "--adapters-memory") == 0
    assert call(state, "--all", "--adapters-memory") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "removed: nothing"


@pytest.mark.parametrize(
    "words", [[], ["--older-than", "0"], ["--older-than", "nan"], ["--older-than", "-1"],
              ["--older-than", "inf"], ["--all", "--older-than", "3"]],
)  # fmt: skip
def test_wrong_usage_removes_nothing(state: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call(state, *words)
    assert ended.value.code == 2
    assert left(state) == (4, 2)


def test_no_adapter_is_taken_from_under_a_daemon(house: House, capsys: Said) -> None:
    with listening(house, ControlConfig()):
        assert call(house.folder, "--adapters") == 1
    assert "stop the daemon first" in capsys.readouterr().err


def test_the_daemon_is_asked_where_one_runs(house: House, capsys: Said) -> None:
    memory = house.folder / "adapters" / "base" / "memory.safetensors"
    memory.touch()
    with listening(house, ControlConfig()):
        assert call(house.folder, "--adapters-memory") == 0
    assert capsys.readouterr().out == "removed: 1 bundles' kept frames\n"
    assert not memory.exists()
    assert "via socket" in house.last("purged")["actor"]


def test_a_daemon_that_does_not_answer_is_no_success(
    state: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acclimate.daemon.client.PATIENCE", 0.2)
    with only_one(state):
        assert call(state, "--all") == 1
    assert "does not answer" in capsys.readouterr().err
    assert left(state) == (4, 2)


# ---- the running daemon


def asked(house: House) -> list[dict[str, Any]]:
    """What the serving process is told, swaps apart."""
    told: list[dict[str, Any]] = []
    house.serving.send = told.append  # type: ignore[method-assign]
    return told


def test_the_daemon_leaves_the_buffer_to_the_runtime(house: House) -> None:
    told = asked(house)
    answer = house.command(do="purge", hours=0, memory=False)
    assert told == [{"cmd": "purge", "hours": 0}]
    assert ("purged" in house.kinds, answer.done()) == (False, False)
    second = house.command(do="purge", hours=3, memory=False)
    assert "under way" in str(second.exception(0))
    house.serving.said.append({"event": "purged", **told[0], "frames": 7})
    house.ticks()
    assert house.last("purged")["message"] == answer.result(0) == "removed: 7 buffered frames"
    assert house.last("purged")["actor"] == "user anna via socket"


def test_pictures_of_cameras_that_are_gone_go_with_all_frames(house: House) -> None:
    asked(house)
    picture = house.folder / "latest-rear.jpg"
    picture.touch()
    house.command(do="purge", hours=3, memory=False)
    assert picture.exists()
    house.life.purge.give_up("enough")
    house.command(do="purge", hours=0, memory=False)
    assert not picture.exists()


def test_a_runtime_that_dies_over_a_purge_leaves_nobody_waiting(house: House) -> None:
    asked(house)
    answer = house.command(do="purge", hours=0, memory=False)
    house.life.purge.give_up("the serving process died")
    assert str(answer.exception(0)) == "the serving process died; ask again"
    assert not house.command(do="purge", hours=0, memory=False).done()


def test_a_round_under_way_may_leave_no_frames_behind(house: House) -> None:
    house.drive(0.0)
    house.serving.stream(5.0)
    house.ticks(2)
    assert house.life.rounds.now is not None
    memory = house.folder / "adapters" / "base" / "memory.safetensors"
    memory.touch()
    house.command(do="purge", hours=None, memory=True)
    assert house.killed
    assert not memory.exists()
    assert house.last("purged")["message"] == "removed: 1 bundles' kept frames"


def test_a_disk_that_refuses_is_told_to_the_asker(house: House) -> None:
    told = asked(house)
    answer = house.command(do="purge", hours=3, memory=False)
    house.serving.said.append({"event": "purged", **told[0], "frames": 0, "trouble": "read-only"})
    house.ticks()
    assert house.last("command_refused")["reason"] == str(answer.exception(0)) == "read-only"


@pytest.mark.parametrize("hours", [-1, "x", []])
def test_no_nonsense_is_purged(house: House, hours: Any) -> None:
    told = asked(house)
    house.command(do="purge", hours=hours, memory=False)
    assert (told, house.kinds[-1]) == ([], "command_refused")


def test_what_bundles_keep_goes_by_age_by_itself(tmp_path: Path) -> None:
    memory = tmp_path / "adapters" / "a1" / "memory.safetensors"
    memory.parent.mkdir(parents=True)
    memory.touch()
    events: list[dict[str, Any]] = []
    life: Any = SimpleNamespace(
        config=SimpleNamespace(buffer=BufferConfig(max_age_hours=24)),
        registry=SimpleNamespace(folder=tmp_path),
        events=SimpleNamespace(write=lambda event, **told: events.append({"event": event, **told})),
    )
    module.Purge(life).look()
    assert memory.exists()
    age(memory, 25)
    keeper = module.Purge(life)
    keeper.look()
    assert not memory.exists()
    assert [event["message"] for event in events] == ["removed: 1 bundles' kept frames"]
    memory.touch()
    age(memory, 25)
    keeper.look()
    assert memory.exists(), "once a minute is often enough"
    json.dumps(events)


# ---- adapters at someone's word


def test_an_adapter_is_tried_on_probation(house: House) -> None:
    bundle(house.folder / "adapters", "a9", 9)
    house.drive(0.0)
    answer = house.command(do="try", id="a9")
    assert answer.result(0) == "a9 serves, on probation"
    assert house.last("tried")["actor"] == "user anna via socket"
    assert (house.state.active, house.life.probation is not None) == ("a9", True)
    assert "a9" not in house.state.good
    house.drive(0.0, share=0.99)
    assert house.state.active == "base"
    assert "histogram_js" in house.state.quarantined["a9"]
    house.command(do="try", id="a9")
    assert "is quarantined" in house.last("command_refused")["reason"]


@pytest.mark.parametrize(("name", "why"), [("a77", "there is no adapter"), ("base", "already")])
def test_what_is_not_there_is_not_tried(house: House, name: str, why: str) -> None:
    house.drive(0.0)
    house.command(do="try", id=name)
    assert why in house.last("command_refused")["reason"]


def test_a_strange_import_is_refused_by_the_daemon(house: House) -> None:
    for folder in ("../adapters/base", "nothing"):
        assert house.command(do="import", folder=folder).exception(0)
        assert house.last("command_refused")["command"]["folder"] == folder
    assert house.life.registry.names() == ["base"]
