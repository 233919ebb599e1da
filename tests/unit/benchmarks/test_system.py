"""The loop without the clock: what a round leaves serves, what returns is recalled."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from acclimate.adapt.round import Round
from acclimate.configs.drift import DriftConfig
from acclimate.configs.schema import Config
from acclimate.errors import Diverged
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Result
from benchmarks import system
from benchmarks.system import System

DARK, BRIGHT = 20, 200


class Seeing:
    """An engine whose embedding is how bright a frame is."""

    info = SimpleNamespace()

    def infer(self, frame: np.ndarray, bundle: Bundle) -> Result:
        light = float(frame.mean()) / 255 * np.pi / 2
        where = np.array([np.cos(light), np.sin(light)], np.float32)
        return Result(frame[..., 0], np.ones(3, np.float32), np.ones(2, np.float32) / 2, where)


def drive(light: int, count: int = 60) -> list[np.ndarray]:
    rng = np.random.default_rng(light)
    return [
        np.full((8, 8, 3), light + rng.integers(-8, 9), np.uint8) for _ in range(count)
    ]  # fmt: skip


def load(folder: Path, info: Any) -> Bundle:
    told = folder / "manifest.json"
    manifest = json.loads(told.read_text()) if told.exists() else {}
    nothing = np.empty(0, np.uint8)
    return Bundle(folder.name, manifest, {}, nothing, nothing)


class Rounds:
    """Plays rounds as told: accepted, instead, refused, sound or diverged."""

    def __init__(self) -> None:
        self.tasks: list[Round] = []
        self.next = "accepted"

    def __call__(self, task: Round) -> dict[str, Any]:
        self.tasks.append(task)
        if self.next == "diverged":
            raise Diverged("lost")
        if self.next in ("accepted", "instead"):
            light = np.cos(DARK / 255 * np.pi / 2), np.sin(DARK / 255 * np.pi / 2)
            task.out_dir.mkdir(parents=True)
            where = {"condition": {"mean": light, "spread": 0.02}}
            (task.out_dir / "manifest.json").write_text(json.dumps(where))
        if self.next == "sound":
            task.learned_dir.mkdir(parents=True)
        won = self.next == "accepted"
        other = "base in colours" if self.next == "instead" else None
        return {"id": task.id, "seconds": 1.0, "accepted": won, "instead": other, "reasons": ()}


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    played = Rounds()
    monkeypatch.setattr(system, "play", played)
    monkeypatch.setattr(system, "open_engine", lambda *_: Seeing())
    monkeypatch.setattr(system, "load_bundle", load)
    return played


@pytest.fixture
def whole(rounds: Rounds, tmp_path: Path) -> System:
    drift = DriftConfig(reference_frames=60, smoothing_frames=10)
    return System(Config(drift=drift), tmp_path / "state", tmp_path / "work", 3)


@pytest.mark.parametrize(
    ("verdict", "serves"),
    [("accepted", "r1"), ("instead", "r1"), ("refused", "base"), ("sound", "base"),
     ("diverged", "base")],
)  # fmt: skip
def test_what_a_round_leaves_serves(
    whole: System, rounds: Rounds, verdict: str, serves: str
) -> None:
    rounds.next = verdict
    told = whole.adapt()
    words = {"sound": "refused", "diverged": "failed"}
    assert told["verdict"] == words.get(verdict, verdict)
    assert (whole.serving.id, told["parent"]) == (serves, "base")
    assert list(whole.good) == ["base"] + ["r1"] * (serves == "r1")


def test_the_next_round_starts_from_what_was_sound(whole: System, rounds: Rounds) -> None:
    for verdict in ("sound", "refused", "accepted"):
        rounds.next = verdict
        whole.adapt()
    starts = [task.start for task in rounds.tasks]
    assert starts == [None, rounds.tasks[0].learned_dir, None]


def test_the_base_is_recalled_when_the_day_returns(whole: System, rounds: Rounds) -> None:
    whole.drive(drive(BRIGHT))
    whole.drive(drive(DARK))
    whole.adapt()
    whole.drive(drive(DARK))
    assert (whole.serving.id, whole.recalled) == ("r1", [])
    whole.drive(drive(BRIGHT))
    assert (whole.serving.id, whole.recalled) == ("base", ["base"])
    whole.drive(drive(DARK))
    assert (whole.serving.id, whole.recalled) == ("r1", ["base", "r1"])


def test_a_recall_forgets_where_the_next_round_would_have_started(
    whole: System, rounds: Rounds
) -> None:
    whole.drive(drive(BRIGHT))
    whole.drive(drive(DARK))
    whole.adapt()
    rounds.next = "sound"
    whole.adapt()
    whole.drive(drive(BRIGHT))
    whole.adapt()
    assert rounds.tasks[-1].start is None and rounds.tasks[-1].parent_dir.name == "base"
