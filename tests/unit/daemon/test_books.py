"""Every change of what is served has its line, whoever made it and whatever came in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acclimate.daemon import lifecycle
from acclimate.daemon.books import UNTOLD, last_told
from acclimate.daemon.cli import main
from acclimate.daemon.journal import history
from acclimate.daemon.registry import Registry
from tests.unit.daemon import test_main
from tests.unit.daemon.conftest import House
from tests.unit.daemon.test_main import CONFIG, RUNTIME, Play
from tests.unit.daemon.test_registry import adopted, bundle

play, state = test_main.play, test_main.state
Change = tuple[str, str, str, str]


def changes(state: Path) -> list[Change]:
    """Actor, from, to and reason of every line; each begins where the one before ended."""
    rows = list(history(state / "events.jsonl"))
    assert [row["from"] for row in rows] == ["base", *(row["to"] for row in rows)][: len(rows)]
    return [(row["actor"], row["from"], row["to"], row["reason"]) for row in rows]


def restart(house: House) -> None:
    house.open()
    house.life.start()


def test_a_power_cut_between_the_truth_and_its_line(house: House, tmp_path: Path) -> None:
    adopted(house.life.registry, tmp_path, "a1")
    restart(house)
    assert changes(house.folder) == [("start", "base", "a1", UNTOLD)]
    restart(house)
    assert len(changes(house.folder)) == 1, "it is told once"


def test_a_power_cut_before_the_line_of_one_on_probation(house: House, tmp_path: Path) -> None:
    house.life.registry.adopt("a1", bundle(tmp_path / "candidates", "a1"))
    house.life.registry.activate("a1")
    restart(house)
    assert [change[:3] for change in changes(house.folder)] == [
        ("start", "base", "a1"), ("probation", "a1", "base"),
    ]  # fmt: skip


def test_a_restart_that_changes_nothing_tells_nothing(house: House) -> None:
    name = house.settle()
    before = changes(house.folder)
    restart(house)
    assert (house.serving.started[-1], changes(house.folder)) == (name, before)
    assert last_told(house.folder) == name


def test_a_runtime_that_dies_with_what_came_too_late(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "SWAP_TIMEOUT", -1.0)
    house.serving.deaf = True
    house.nominate()
    house.ticks()
    house.serving.take_up("a0001")
    house.serving.crash()
    house.ticks()
    assert house.state.active == "base"
    assert [change[:3] for change in changes(house.folder)] == [
        ("runtime", "base", "a0001"), ("start", "a0001", "base"),
    ]  # fmt: skip


def test_purged_adapters(state: Path, tmp_path: Path) -> None:
    adopted(Registry(state), tmp_path, "a1")
    assert main(["purge", "--adapters", "--state", str(state)]) == 0
    (change,) = history(state / "events.jsonl")
    assert (change["from"], change["to"]) == ("a1", "base")
    assert change["actor"].endswith(" on disk")
    assert main(["purge", "--adapters", "--state", str(state)]) == 0
    assert len(list(history(state / "events.jsonl"))) == 1, "nothing changed any more"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("base_digest", "the configuration names other weights"),
        ("vocabulary_digest", "the configuration names other words"),
    ],
)
def test_a_start_with_another_base(
    state: Path, play: Play, monkeypatch: pytest.MonkeyPatch, key: str, reason: str
) -> None:
    play(RUNTIME + 'done("ended")')

    def prepared(*_: object) -> Path:
        path = state / "adapters" / "base" / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: "another"}))
        return state / "config.json"

    monkeypatch.setattr(test_main.module, "prepare", prepared)
    test_main.run(CONFIG, state)
    test_main.run(CONFIG, state)
    assert changes(state) == [("configuration", "base", "base", reason)]
