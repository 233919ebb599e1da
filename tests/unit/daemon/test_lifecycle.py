"""The life of an adapter with a scripted serving process and scripted rounds."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acclimate.configs.schema import Config, parse_config
from acclimate.daemon import lifecycle as module
from acclimate.daemon.events import EventLog
from acclimate.daemon.lifecycle import Lifecycle
from acclimate.daemon.metrics import Metrics
from acclimate.daemon.rounds import Outcome
from tests.unit.daemon.test_registry import bundle

CONFIG = parse_config({
    "drift": {"threshold": 1.0, "reference_frames": 8, "smoothing_frames": 1},
    "adapt": {"cooldown_s": 0, "min_frames": 2},
    "probation": {"frames": 20, "before_frames": 20, "min_frames": 5},
})  # fmt: skip


class FakeServing:
    """Answers every swap; `refuse` names what it will not take."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.started: list[str] = []
        self.refuse: set[str] = set()
        self.active, self.frame, self.dead, self.ended = "base", 0, False, False
        self.exit_code: int | None = None
        self.ledger: dict[str, Any] = {"captured": 0, "served": 0, "dropped": {}, "balanced": True}

    def start(self, adapter: str) -> None:
        self.started.append(adapter)
        self.active, self.dead = adapter, False

    def events(self) -> list[dict[str, Any]]:
        said, self.said = self.said, []
        return said

    def died(self) -> bool:
        return self.dead

    def send(self, message: dict[str, Any]) -> None:
        name = message["id"]
        if name in self.refuse:
            self.said.append({"event": "refused", "id": name, "reason": "probe labels differ"})
            return
        self.said.append({
            "event": "swapped", "id": name, "from": self.active, "frame": self.frame,
            "gap_ms": 0.1, "load_ms": 5.0,
        })  # fmt: skip
        self.active = name

    def stream(self, x: float, confidence: float = 0.9, share: float = 0.5, times: int = 6) -> None:
        """Intervals of ten frames at place `x`."""
        for i in range(times):
            self.frame += 10
            self.said.append({
                "event": "stats", "frames": 10, "latency_ms": [5.0] * 10, "video_time": 0.0,
                "confidence": [confidence, 0.5, 0.1], "histogram": [share, 1 - share],
                "embedding": [x + 0.1 * (i % 2), 0.0], "active": self.active, "source": "live",
                "buffer": {"entries": 50, "bytes": 1, "admitted": self.frame}, "trouble": None,
            })  # fmt: skip


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A lifecycle, its serving process, and a hand on the next round's outcome."""
    state = tmp_path / "state"
    bundle(state / "adapters", "base", 0)
    box = SimpleNamespace(serving=FakeServing(), outcome=None, parents=[])

    class FakeRound:
        def __init__(self, config: Config, registry: Any, reason: str, *_: object) -> None:
            self.sequence, self.id = registry.next_name()
            self.parent, self.reason = registry.state.active, reason
            self.settings, self.step = config.adapt, 0
            self.child = SimpleNamespace(kill=lambda: None)
            box.parents.append(self.parent)

        def poll(self) -> Outcome | None:
            if box.outcome != "accepted":
                return box.outcome
            folder = bundle(tmp_path / "candidates" / self.id, self.id, self.sequence)
            manifest = {"id": self.id, "sequence": self.sequence,
                        "condition": {"mean": [5.0, 0.0], "spread": 0.5}}  # fmt: skip
            (folder / "manifest.json").write_text(json.dumps(manifest))
            return Outcome("accepted", (), 1.0, {}, folder)

    monkeypatch.setattr(module, "RoundProcess", FakeRound)
    log = EventLog(state / "events.jsonl", lambda _: None)
    box.life = Lifecycle(CONFIG, state, box.serving, log, Metrics())
    box.log = log
    box.kinds = lambda: [event["event"] for event in log.events]
    box.ticks = lambda n=4: [box.life.tick() for _ in range(n)]
    return box


def adapted(house: SimpleNamespace) -> str:
    """Drive out of the base's condition and have one candidate accepted."""
    house.serving.stream(0.0)
    house.ticks()
    house.serving.stream(5.0)
    house.outcome = "accepted"
    house.life.tick()
    house.life.tick()
    house.outcome = None
    house.ticks()
    return str(house.life.registry.state.active)


def test_drift_starts_a_round_and_a_good_candidate_becomes_good(house: SimpleNamespace) -> None:
    name = adapted(house)
    assert name != "base"
    assert house.life.registry.word_for("base") == "previous"
    house.serving.stream(5.0)
    house.ticks()
    assert name in house.life.registry.state.good
    assert house.kinds() == ["reference", "round_started", "round_ended", "swapped",
                             "probation_passed"]  # fmt: skip


def test_the_next_round_starts_from_the_accepted_adapter(house: SimpleNamespace) -> None:
    name = adapted(house)
    house.serving.stream(5.0)
    house.ticks()
    house.serving.stream(12.0)
    house.ticks()
    assert house.parents == ["base", name]


@pytest.mark.parametrize("signal", [{"confidence": 0.2}, {"share": 1.0}])
def test_a_regression_in_probation_rolls_back(house: SimpleNamespace, signal: Any) -> None:
    name = adapted(house)
    house.serving.stream(5.0, **signal)
    house.ticks()
    state = house.life.registry.state
    assert state.active == house.serving.active == "base"
    assert name in state.quarantined
    assert "rolled_back" in house.kinds()


@pytest.mark.parametrize("verdict", ["refused", "failed", "deadline", "memory", "no_data"])
def test_a_round_without_a_candidate_changes_nothing(house: SimpleNamespace, verdict: str) -> None:
    house.serving.stream(0.0)
    house.ticks()
    house.serving.stream(5.0)
    house.outcome = Outcome(verdict, ("because",), 1.0)
    house.ticks(2)
    house.outcome = None
    assert house.life.registry.state.active == house.serving.active == "base"
    assert (
        f'acclimate_rounds_total{{verdict="{verdict}"}} 1.0' in house.life.metrics.text().decode()
    )
    house.serving.stream(5.0)
    house.ticks()
    assert house.kinds().count("round_started") == 2


def test_what_the_runtime_refuses_is_quarantined(house: SimpleNamespace) -> None:
    house.serving.refuse = {"a0001"}
    adapted(house)
    state = house.life.registry.state
    assert state.active == "base"
    assert "probe labels differ" in state.quarantined["a0001"]


def test_a_crash_in_probation_is_blamed_on_the_adapter(house: SimpleNamespace) -> None:
    name = adapted(house)
    house.serving.dead = True
    house.life.tick()
    assert house.serving.started == ["base"]
    assert name in house.life.registry.state.quarantined


def test_a_crash_outside_probation_keeps_the_adapter(house: SimpleNamespace) -> None:
    name = adapted(house)
    house.serving.stream(5.0)
    house.ticks()
    house.serving.dead = True
    house.life.tick()
    assert house.serving.started == [name]


def test_the_base_is_recalled_when_the_day_returns(house: SimpleNamespace) -> None:
    adapted(house)
    house.serving.stream(5.0)
    house.ticks()
    house.serving.stream(0.0)
    house.ticks()
    assert house.life.registry.state.active == "base"
    assert "recalled" in house.kinds()
    assert house.life.probation is None  # it is proven already


def test_a_rollback_by_hand_quarantines_and_is_not_undone(house: SimpleNamespace) -> None:
    name = adapted(house)
    house.serving.stream(5.0)
    house.ticks()
    house.life.inbox.put({"do": "rollback", "to": "base"})
    house.ticks()
    state = house.life.registry.state
    assert (state.active, state.good) == ("base", ["base"])
    assert state.quarantined[name] == "manual"


def test_a_foolish_command_is_refused(house: SimpleNamespace) -> None:
    house.life.inbox.put({"do": "rollback", "to": "nobody"})
    house.life.inbox.put({"do": "quarantine", "id": "base2"})
    house.life.inbox.put({"do": "dance"})
    house.ticks()
    assert house.kinds()[0] == "command_refused"
    assert house.life.registry.state.active == "base"


def test_an_adapter_forced_past_the_gate_is_on_probation(
    house: SimpleNamespace, tmp_path: Path
) -> None:
    house.serving.stream(0.0)
    house.ticks()
    house.life.force("wild", bundle(tmp_path / "elsewhere", "wild"))
    house.ticks()
    assert house.life.registry.state.active == "wild"
    house.serving.stream(0.0, share=1.0)
    house.ticks()
    assert house.life.registry.state.active == "base"
    undone = [e for e in house.log.events if e["event"] == "swapped"][-1]
    assert (undone["since"], undone["frames_before"]) == ("wild", 60)


def test_a_full_disk_stops_adapting_only(
    house: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> tuple[int, str]:
        raise OSError(28, "No space left on device")

    house.serving.stream(0.0)
    house.ticks()
    monkeypatch.setattr(house.life.registry, "next_name", full)
    house.serving.stream(5.0)
    assert all(house.ticks())
    assert house.kinds().count("trouble") == 1
    assert house.life.round is None
