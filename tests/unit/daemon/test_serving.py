"""The serving process over several lives: restarts and books."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acclimate.configs.schema import DaemonConfig
from acclimate.daemon import serving as module
from acclimate.daemon.metrics import Metrics
from acclimate.daemon.serving import Serving
from acclimate.errors import EngineError
from tests.unit.daemon.test_metrics import values

WORDS = Path("words.yaml")


class FakeChild:
    """A serving process that says what it is told to."""

    def __init__(self, name: str, arguments: list[str], log: Path) -> None:
        self.name, self.arguments, self.log = name, arguments, log
        self.said: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []
        self.last_words: list[dict[str, Any]] = []
        self.exit_code: int | None = None

    def events(self) -> list[dict[str, Any]]:
        said, self.said = self.said, []
        return said

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def kill(self) -> None:
        self.exit_code = -9

    def stop(self, timeout: float) -> None:
        self.said, self.exit_code = self.said + self.last_words, 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that is set by hand."""
    hand = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: hand.now))
    return hand


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serving:
    monkeypatch.setattr(module, "Child", FakeChild)
    config = DaemonConfig(max_restarts=2, restart_window_s=60)
    return Serving(config, tmp_path, ["--config", "c.json"], Metrics())


def child_of(serving: Serving) -> FakeChild:
    assert isinstance(serving._child, FakeChild)
    return serving._child


def totals(captured: int, served: int, **dropped: int) -> dict[str, Any]:
    return {"captured": captured, "served": served, "dropped": dropped}


def hear(serving: Serving, *events: dict[str, Any]) -> None:
    child_of(serving).said += events
    assert len(serving.events()) == len(events)


def die(serving: Serving, code: int = -9) -> None:
    child_of(serving).exit_code = code
    assert serving.died()
    assert serving.exit_code == code


def test_it_starts_with_the_adapter_and_its_arguments(serving: Serving, tmp_path: Path) -> None:
    serving.start("a0003", WORDS)
    child = child_of(serving)
    assert child.arguments == [
        "--state", str(tmp_path), "--bundle", "a0003", "--config", "c.json",
        "--vocabulary", "words.yaml",
    ]  # fmt: skip
    assert (child.name, child.log) == ("runtime", tmp_path / "logs" / "runtime.log")


def test_before_and_between_lives_it_is_silent(serving: Serving) -> None:
    assert (serving.events(), serving.died()) == ([], False)
    serving.send({"cmd": "swap"})
    serving.stop()
    assert serving.ledger == {"captured": 0, "served": 0, "dropped": {}, "balanced": True}


def test_what_is_in_flight_is_no_loss(serving: Serving) -> None:
    serving.start("base", WORDS)
    hear(serving, {"event": "stats", **totals(10, 8, superseded=1)})
    assert serving.ledger["balanced"] is False
    hear(serving, {"event": "stats", **totals(10, 9, superseded=1)})
    assert serving.ledger["balanced"] is True


def test_ledgers_add_up_over_a_crash(serving: Serving) -> None:
    serving.start("base", WORDS)
    hear(serving, {"event": "stats", **totals(10, 7, superseded=2)})
    die(serving)
    assert serving.ledger["balanced"]
    serving.start("base", WORDS)
    hear(serving, {"event": "stats", **totals(3, 2)})
    hear(serving, {"event": "done", "ledger": totals(5, 4, superseded=1), "reason": "stopped"})
    assert (serving.ended, serving.reason) == (True, "stopped")
    assert serving.ledger == {
        "captured": 15, "served": 11, "dropped": {"superseded": 3, "runtime_died": 1},
        "balanced": True,
    }  # fmt: skip
    seen = values(serving._metrics)
    frames = {label: n for (name, label), n in seen.items() if name == "acclimate_frames_total"}
    found = {label: n for label, n in frames.items() if n}
    assert found == {"served": 11, "superseded": 3, "runtime_died": 1}


def test_counters_only_rise(serving: Serving) -> None:
    serving.start("base", WORDS)
    for _ in range(3):
        hear(serving, {"event": "stats", **totals(4, 4)})
    die(serving)
    serving.start("base", WORDS)
    hear(serving, {"event": "stats", **totals(1, 1)})
    assert values(serving._metrics)["acclimate_frames_total", "served"] == 5


def test_a_process_that_said_done_did_not_die(serving: Serving) -> None:
    serving.start("base", WORDS)
    hear(serving, {"event": "done", "ledger": totals(2, 2), "reason": "ended"})
    child_of(serving).exit_code = 0
    assert serving.died() is False


def test_a_fatal_error_is_the_reason(serving: Serving) -> None:
    serving.start("base", WORDS)
    hear(serving, {"event": "error", "message": "no such film", "fatal": True})
    die(serving, 1)
    assert serving.reason == "no such film"


def test_the_restart_budget_is_kept(serving: Serving, clock: SimpleNamespace) -> None:
    for _ in range(2):
        serving.start("base", WORDS)
        clock.now += 10
        die(serving, 1)
    with pytest.raises(EngineError, match=r"died 2 times in 60 s; see .*runtime\.log"):
        serving.start("base", WORDS)


def test_the_restart_budget_comes_back(serving: Serving, clock: SimpleNamespace) -> None:
    for _ in range(5):
        serving.start("base", WORDS)
        clock.now += 61
        die(serving, 1)
    serving.start("base", WORDS)


def test_stopping_waits_for_the_ledger(serving: Serving) -> None:
    serving.start("base", WORDS)
    hear(serving, {"event": "stats", **totals(4, 3)})
    done = {"event": "done", "ledger": totals(5, 4, stopped=1), "reason": "stopped"}
    child_of(serving).last_words = [done]
    serving.stop()
    assert serving.ledger == {**totals(5, 4, stopped=1), "balanced": True}
    serving.stop()


def test_one_that_is_killed_while_stopping_balances_too(serving: Serving) -> None:
    serving.start("base", WORDS)
    hear(serving, {"event": "stats", **totals(4, 3)})
    serving.stop()
    assert serving.ledger == {**totals(4, 3, runtime_died=1), "balanced": True}
    assert serving.reason == "stopped"


def test_commands_reach_it(serving: Serving) -> None:
    serving.start("base", WORDS)
    serving.send({"cmd": "swap", "id": "a0001"})
    assert child_of(serving).sent == [{"cmd": "swap", "id": "a0001"}]


def test_one_life_retires_and_the_next_adds_to_its_books(serving: Serving) -> None:
    serving.start("base", WORDS)
    done = {"event": "done", "ledger": totals(9, 8, late=1), "reason": "stopped"}
    child_of(serving).last_words = [{"event": "swapped", "id": "a1"}, done]
    assert [event["event"] for event in serving.retire()] == ["swapped", "done"]
    assert not serving.ended, "the daemon goes on"
    serving.start("a1", WORDS)
    hear(serving, {"event": "stats", **totals(5, 5)})
    assert serving.ledger == {
        "captured": 14, "served": 13, "dropped": {"late": 1}, "balanced": True,
    }  # fmt: skip


def test_one_that_must_be_killed_to_retire_loses_only_what_it_had_in_hand(
    serving: Serving,
) -> None:
    serving.start("base", WORDS)
    hear(serving, {"event": "stats", **totals(9, 7)})
    serving.retire()
    serving.start("base", WORDS)
    assert serving.ledger["dropped"] == {"runtime_died": 2}
    assert serving.ledger["balanced"]


def test_a_death_that_is_forgiven_costs_no_restart(serving: Serving) -> None:
    for _ in range(5):
        serving.start("base", WORDS)
        hear(serving, {"event": "error", "message": "no such film", "fatal": True})
        die(serving, 1)
        assert serving.forgive() == "no such film"
    serving.start("base", WORDS)
    die(serving, -9)
    assert serving.forgive() == "exit code -9"


def test_deaths_without_a_word_before_the_first_frame_are_counted(serving: Serving) -> None:
    segfault, counted = -11, []
    said: tuple[list[dict[str, Any]], ...] = (
        [], [], [{"event": "error", "message": "no such film", "fatal": True}], [],
        [{"event": "stats", **totals(5, 5)}],
    )  # fmt: skip
    for words in said:
        serving.start("a1", WORDS)
        hear(serving, *words)
        die(serving, segfault)
        counted.append(serving.stillborn)
        serving.forgive()
    assert counted == [1, 2, 0, 1, 0]
    serving.start("a1", WORDS)
    die(serving, -9)
    assert serving.stillborn == 0, "that was somebody else"


# ---- one that stands by


def test_it_takes_over_and_the_ledgers_add_up(serving: Serving, tmp_path: Path) -> None:
    serving.start("base", WORDS)
    hear(serving, {"event": "ready"}, {"event": "stats", **totals(4, 4)})
    serving.stand_by(("a1", WORDS), Path("wanted.json"))
    old, standby = child_of(serving), serving.standby
    assert standby is not None
    fresh: Any = standby._child
    assert fresh.arguments == [
        "--state", str(tmp_path), "--bundle", "a1", "--config", "c.json",
        "--vocabulary", "words.yaml", "--config", "wanted.json", "--standby",
    ]  # fmt: skip
    hear(serving, {"event": "stats", **totals(7, 6)})
    assert fresh.sent == []
    done = {"event": "done", "ledger": totals(9, 8, stopped=1), "reason": "stopped"}
    old.last_words = [done]
    assert serving.retire() == [done]
    assert (old.exit_code, fresh.exit_code, fresh.sent) == (0, None, [])
    serving.take_over()
    assert (child_of(serving), fresh.sent, serving.standby) == (fresh, [{"cmd": "go"}], None)
    hear(serving, {"event": "ready"}, {"event": "stats", **totals(5, 5)})
    assert serving.ledger == {**totals(14, 13, stopped=1), "balanced": True}


def test_once_it_goes_its_end_is_a_death_and_its_silence_is_timed(
    serving: Serving, clock: SimpleNamespace
) -> None:
    serving.start("base", WORDS)
    serving.stand_by(("base", WORDS), Path("wanted.json"))
    clock.now += 599
    serving.retire()
    serving.take_over()
    clock.now += 599
    assert serving.events() == []
    clock.now += 2
    assert "not ready within 600 s" in serving.events()[0]["message"]
    assert serving.died()


def test_no_more_than_two_at_a_time(serving: Serving) -> None:
    serving.start("base", WORDS)
    fresh: list[Any] = []
    for name in ("a1", "a2"):
        serving.stand_by((name, WORDS), Path("wanted.json"))
        assert serving.standby is not None
        fresh.append(serving.standby._child)
    assert [child.exit_code for child in fresh] == [-9, None]
    die(serving)
    serving.start("base", WORDS)
    assert (fresh[1].exit_code, serving.standby) == (-9, None)
    serving.dismiss()


def test_another_budget(serving: Serving, clock: SimpleNamespace) -> None:
    for _ in range(2):
        serving.start("base", WORDS)
        die(serving)
    serving.reconfigure(DaemonConfig(max_restarts=3, restart_window_s=60))
    serving.start("base", WORDS)
    die(serving)
    with pytest.raises(EngineError, match="died 3 times"):
        serving.start("base", WORDS)


# ---- one that hangs


def test_one_that_falls_silent_is_killed_and_started_again(
    serving: Serving, clock: SimpleNamespace
) -> None:
    serving.start("base", WORDS)
    child = child_of(serving)
    clock.now += 500
    assert serving.events() == [], "an engine may take long to load"
    hear(serving, {"event": "ready"}, {"event": "stats", **totals(9, 7)})
    clock.now += 29
    assert serving.events() == []
    clock.now += 2
    (told,) = serving.events()
    assert (told["event"], child.exit_code) == ("error", -9)
    assert "no report for 31 s (daemon.hang_timeout_s is 30)" in told["message"]
    assert serving.events() == [], "told once"
    assert serving.died()
    assert serving.ledger == {**totals(9, 7, runtime_died=2), "balanced": True}
    serving.start("base", WORDS)
    clock.now += 500
    assert serving.events() == []


def test_one_that_never_gets_ready_is_killed_and_started_again(
    serving: Serving, clock: SimpleNamespace
) -> None:
    serving.start("base", WORDS)
    clock.now += 601
    (told,) = serving.events()
    assert "not ready within 600 s" in told["message"]
    assert serving.events() == [], "told once"
    assert serving.died()
    serving.start("base", WORDS)
    hear(serving, {"event": "ready"}, {"event": "stats", **totals(1, 1)})
    clock.now += 20
    assert serving.events() == []


def test_one_that_said_goodbye_and_stays_is_ended(serving: Serving) -> None:
    serving.start("base", WORDS)
    hear(serving, {"event": "done", "ledger": totals(1, 1), "reason": "ended"})
    serving.stop()
    assert child_of(serving).exit_code == 0
    assert serving.reason == "ended"


def test_one_that_is_stopped_is_not_hung(serving: Serving, clock: SimpleNamespace) -> None:
    serving.start("base", WORDS)
    hear(serving, {"event": "ready"}, {"event": "stats", **totals(1, 1)})
    clock.now += 31
    done = {"event": "done", "ledger": totals(1, 1), "reason": "stopped"}
    child_of(serving).last_words = [done]
    serving.stop()
    assert (serving.reason, serving.ledger["balanced"]) == ("stopped", True)
    assert serving.events() == []
