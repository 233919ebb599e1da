"""A lifecycle whose serving process and rounds are scripted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acclimate.configs.schema import Config, DaemonConfig, parse_config
from acclimate.daemon import registry as registry_module
from acclimate.daemon import scheduler as scheduler_module
from acclimate.daemon.events import EventLog
from acclimate.daemon.lifecycle import Lifecycle
from acclimate.daemon.metrics import Metrics
from acclimate.daemon.registry import Registry
from acclimate.daemon.rounds import Outcome
from acclimate.daemon.standby import Beginning
from acclimate.daemon.state import State
from acclimate.daemon.status import LOG_ONLY, dated, sentence, snapshot
from acclimate.errors import EngineError
from tests.unit.daemon.test_metrics import values
from tests.unit.daemon.test_registry import adopted, bundle

CONFIG = parse_config({
    "drift": {"threshold": 1.0, "reference_frames": 8, "smoothing_frames": 1},
    "adapt": {"cooldown_s": 0, "min_frames": 2},
    "probation": {"frames": 20, "before_frames": 20, "min_frames": 5},
})  # fmt: skip
DAY, DUSK, NIGHT = 0.0, 5.0, 12.0


class FakeStandby:
    """Loads until it `stands_by`, or has a `trouble`."""

    def __init__(self, beginning: Beginning, config: Config, stands_by: bool) -> None:
        self.beginning, self.config, self.stands_by = beginning, config, stands_by
        self.trouble = ""

    def stands(self) -> bool:
        if self.trouble:
            raise EngineError(self.trouble)
        return self.stands_by


class FakeServing:
    """Answers every swap; `refuse` names what it will not take, `deaf` answers nothing. What is to
    stand by does so at once, unless it is `slow`."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.last_words: list[dict[str, Any]] = []
        self.heard: list[dict[str, Any]] = []
        self.config = CONFIG.daemon
        self.retired = self.forgiven = self.stillborn = 0
        self.reason = ""
        self.started: list[str] = []
        self.refuse: set[str] = set()
        self.deaf = self.dead = self.ended = self.slow = False
        self.standby: FakeStandby | None = None
        self.stood_by: list[FakeStandby] = []
        self.budget = 5
        self.active, self.frame, self.admitted = "base", 0, 0
        self.exit_code: int | None = None
        self.vocabulary, self.wanted = "", ""
        self.ledger: dict[str, Any] = {"captured": 0, "served": 0, "dropped": {}, "balanced": True}

    def start(self, adapter: str, vocabulary: Path) -> None:
        if len(self.started) >= self.budget:
            raise EngineError("the runtime died too often")
        self.dismiss()
        self._begin(adapter, vocabulary)

    def stand_by(self, beginning: Beginning, config: Path) -> None:
        self.dismiss()
        wanted = parse_config(json.loads(config.read_text()))
        self.standby = FakeStandby(beginning, wanted, not self.slow)
        self.stood_by.append(self.standby)

    def take_over(self) -> None:
        assert self.standby is not None
        assert self.retired, "new before old, and never two at a time"
        self._begin(*self.standby.beginning)
        self.standby = None

    def dismiss(self) -> None:
        self.standby = None

    def _begin(self, adapter: str, vocabulary: Path) -> None:
        self.started.append(adapter)
        self.active, self.dead, self.frame, self.admitted = adapter, False, 0, 0
        self.vocabulary = str(vocabulary)
        self.said.append({
            "event": "ready", "active": adapter, "engine": "onnxruntime-cpu", "precision": "fp32",
            "reason": "there is no CUDA device",
        })  # fmt: skip

    def crash(self, *last_words: dict[str, Any]) -> None:
        self.said += last_words
        self.dead, self.exit_code = True, -9

    def events(self) -> list[dict[str, Any]]:
        said, self.said = self.said, []
        return said

    def died(self) -> bool:
        return self.dead

    def stop(self) -> list[dict[str, Any]]:
        return self.last_words

    def retire(self) -> list[dict[str, Any]]:
        self.retired += 1
        return self.last_words

    def forgive(self) -> str:
        self.forgiven, self.budget = self.forgiven + 1, self.budget + 1
        return self.reason

    def reconfigure(self, config: DaemonConfig) -> None:
        self.config = config

    def send(self, message: dict[str, Any]) -> None:
        if message["cmd"] != "swap":
            self.heard.append(message)
            if message["cmd"] == "purge":
                self.said.append({"event": "purged", "hours": message["hours"], "frames": 0})
            return
        name, self.wanted = message["id"], message["vocabulary"]
        if name in self.refuse:
            self.said.append({"event": "refused", "id": name, "reason": "probe labels differ"})
        elif not self.deaf:
            self.take_up(name)

    def take_up(self, name: str) -> None:
        """The swap happens."""
        self.vocabulary = self.wanted
        self.said.append({
            "event": "swapped", "id": name, "from": self.active, "frame": self.frame,
            "gap_ms": 0.1, "load_ms": 5.0, "vocabulary": self.vocabulary,
        })  # fmt: skip
        self.active = name

    def stream(
        self, place: float, confidence: float = 0.9, share: float = 0.5, times: int = 6,
        entropy: float = 0.1, blind: bool = False, parked: bool = False,
    ) -> None:  # fmt: skip
        """Intervals of ten frames at a place in embedding space."""
        for i in range(times):
            self.frame += 10
            self.admitted += 10
            self.said.append({
                "event": "stats", "frames": 10, "latency_ms": [5.0] * 10, "video_time": 0.0,
                "confidence": [confidence, 0.5, entropy], "histogram": [share, 1 - share],
                "embedding": [place + 0.1 * (i % 2), 0.0], "active": self.active, "source": "live",
                "buffer": {"entries": 50, "bytes": 1, "admitted": self.admitted}, "trouble": None,
                "look": {"blind": blind, "parked": parked},
            })  # fmt: skip


@dataclass
class House:
    """A lifecycle, its serving process, and a hand on the next round's outcome."""

    folder: Path
    serving: FakeServing = field(default_factory=FakeServing)
    outcome: Outcome | str | None = None
    parents: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    held: list[bool] = field(default_factory=list)
    life: Lifecycle = field(init=False)
    log: EventLog = field(init=False)

    def open(self) -> None:
        """Begin as the daemon does; again after a power cut."""
        self.log = EventLog(self.folder / "events.jsonl", lambda _: None)
        serving: Any = self.serving
        self.life = Lifecycle(CONFIG, self.folder, serving, self.log, Metrics())

    @property
    def state(self) -> State:
        return self.life.registry.state

    @property
    def kinds(self) -> list[str]:
        """What people are told of."""
        return [e["event"] for e in self.log.events if e["event"] not in LOG_ONLY]

    def last(self, kind: str) -> dict[str, Any]:
        return [event for event in self.log.events if event["event"] == kind][-1]

    def ticks(self, count: int = 4) -> None:
        assert all(self.life.tick() for _ in range(count))

    def drive(self, place: float, **signals: Any) -> None:
        """Frames from a place, and time to think about them."""
        self.serving.stream(place, **signals)
        self.ticks()

    def nominate(self, place: float = DUSK) -> None:
        """Drive there from the day and have a candidate accepted, which nobody has taken up yet."""
        self.drive(DAY)
        self.serving.stream(place)
        self.outcome = "accepted"
        self.ticks(2)
        self.outcome = None

    def adapt(self, place: float = DUSK) -> str:
        """The same, and it is swapped in and on probation."""
        self.nominate(place)
        self.ticks()
        assert self.state.active != "base"
        return self.state.active

    def settle(self, place: float = DUSK) -> str:
        """The same, and it passed."""
        name = self.adapt(place)
        self.drive(place)
        assert name in self.state.good
        return name

    def ask(self, **command: Any) -> Future[str]:
        """A wish, by `user anna via socket`."""
        return self.life.inbox.ask(command, "user anna via socket")

    def command(self, **command: Any) -> Future[str]:
        """The same, and time to heed it."""
        answer = self.ask(**command)
        self.ticks()
        return answer

    @property
    def history(self) -> list[tuple[str, str, str]]:
        """Who put what in whose place."""
        rows = [event for event in self.log.events if event["event"] == "served"]
        return [(row["actor"], row["from"], row["to"]) for row in rows]

    def metric(self, name: str, label: str = "") -> float:
        return values(self.life.metrics).get((name, label), 0.0)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    state = tmp_path / "state"
    bundle(state / "adapters", "base", 0)
    one = House(state)

    class FakeRound:
        def __init__(
            self, config: Config, registry: Registry, reason: str, mode: str = "train", *_: object
        ) -> None:
            self.mode = mode
            self.sequence, self.id = registry.next_name()
            self.words = registry.words_digest
            self.parent, self.reason = registry.state.active, reason
            self.settings, self.step = config.adapt, 0
            self.child = SimpleNamespace(kill=lambda: one.killed.append(self.id))
            self.hold = one.held.append
            one.parents.append(self.parent)

        def poll(self) -> Outcome | None:
            if not isinstance(one.outcome, str):
                return one.outcome
            folder = bundle(tmp_path / "candidates" / self.id, self.id, self.sequence)
            manifest = json.loads((folder / "manifest.json").read_text())
            place = [one.life.stream._drift._average[0], 0.0]  # type: ignore[index]
            manifest["condition"] = {"mean": place, "spread": 0.5}
            manifest["vocabulary_digest"] = self.words
            (folder / "manifest.json").write_text(json.dumps(manifest))
            return Outcome("accepted", (), 1.0, {"agreement": 1.0}, folder)

    monkeypatch.setattr(scheduler_module, "RoundProcess", FakeRound)
    one.open()
    yield one
    assert all(sentence(e) for e in one.log.events if e["event"] not in LOG_ONLY)
    assert all(dated(event) for event in one.log.events)
    json.dumps(snapshot(one.life))


@pytest.fixture
def open_house(house: House) -> House:
    """One that serves by day."""
    house.life.start()
    house.drive(DAY)
    return house


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder that no daemon uses: base <- a1 <- a2, all good, a2 active."""
    state = tmp_path / "without daemon"
    bundle(state / "adapters", "base", 0)
    adopted(Registry(state), tmp_path, "a1", "a2")
    return state


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Fill the disk with True, make room with False; `state.json` is what cannot be written."""
    write = registry_module.write_atomic
    full = [False]

    def write_if_room(path: Path, content: bytes) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(registry_module, "write_atomic", write_if_room)
    yield lambda now: full.__setitem__(0, now)
