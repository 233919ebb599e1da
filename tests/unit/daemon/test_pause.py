"""Pauses outlive the daemon, and no clock stretches them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from acclimate.daemon import pause as module
from acclimate.daemon.pause import Pause
from acclimate.daemon.registry import Registry
from acclimate.errors import CorruptBundle


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Wall and monotonic, by hand."""
    now = {"wall": 1e9, "steady": 50.0}
    fake = type("Clocks", (), {
        "time": staticmethod(lambda: now["wall"]),
        "monotonic": staticmethod(lambda: now["steady"]),
    })  # fmt: skip
    monkeypatch.setattr(module, "time", fake)
    return now


def later(clocks: dict[str, float], seconds: float) -> None:
    for name in clocks:
        clocks[name] += seconds


def test_a_pause_ends_when_its_time_is_up(tmp_path: Path, clocks: dict[str, float]) -> None:
    pause = Pause(Registry(tmp_path))
    assert not pause.over
    pause.begin(60)
    later(clocks, 59)
    assert (pause.left, pause.over) == (1, False)
    later(clocks, 1)
    assert pause.over
    pause.end()
    assert not pause.over
    assert Registry(tmp_path).state.paused is None


def test_without_a_time_only_a_word_ends_it(tmp_path: Path, clocks: dict[str, float]) -> None:
    pause = Pause(Registry(tmp_path))
    pause.begin(None)
    later(clocks, 1e9)
    assert (pause.left, pause.over) == (None, False)
    assert not Pause(Registry(tmp_path)).over


def test_it_goes_on_after_a_restart(tmp_path: Path, clocks: dict[str, float]) -> None:
    Pause(Registry(tmp_path)).begin(60)
    later(clocks, 20)
    assert Pause(Registry(tmp_path)).left == pytest.approx(40)
    later(clocks, 100)
    assert Pause(Registry(tmp_path)).over


@pytest.mark.parametrize(("jump", "left"), [(-1e8, 60), (1e8, 0)])
def test_a_clock_that_jumps_while_it_is_off(
    tmp_path: Path, clocks: dict[str, float], jump: float, left: float
) -> None:
    Pause(Registry(tmp_path)).begin(60)
    clocks["wall"] += jump
    assert Pause(Registry(tmp_path)).left == left


def test_a_clock_that_jumps_while_it_runs(tmp_path: Path, clocks: dict[str, float]) -> None:
    pause = Pause(Registry(tmp_path))
    pause.begin(60)
    clocks["wall"] += 1e6
    assert pause.left == 60


def test_the_real_clock(tmp_path: Path) -> None:
    pause = Pause(Registry(tmp_path))
    pause.begin(1000)
    kept = Registry(tmp_path).state.paused
    assert kept is not None
    assert kept["seconds"] == 1000
    assert abs(time.time() - float(kept["since"])) < 100


def test_a_truth_from_before_there_were_pauses_and_pins_is_read(tmp_path: Path) -> None:
    Registry(tmp_path).trust("a1")
    path = tmp_path / "state.json"
    old = json.loads(path.read_text())
    del old["paused"], old["pinned"], old["sha256"]
    path.write_text(json.dumps(old))
    state = Registry(tmp_path).state
    assert (state.good, state.paused, state.pinned) == (["base", "a1"], None, None)


@pytest.mark.parametrize("rotten", [7, {}, {"since": "noon", "seconds": 1}, {"since": 1}])
def test_a_rotten_pause_is_a_rotten_truth(tmp_path: Path, rotten: object) -> None:
    Registry(tmp_path).trust("a1")
    path = tmp_path / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"paused": rotten}))
    with pytest.raises(CorruptBundle, match="unreadable"):
        Registry(tmp_path)
