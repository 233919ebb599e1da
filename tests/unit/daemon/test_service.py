"""What the manager hears, on a clock that is turned by hand."""

from __future__ import annotations

import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.source import SourceConfig
from acclimate.daemon import service as module
from acclimate.daemon.notify import Notifier
from acclimate.daemon.service import Heartbeat, Service
from acclimate.daemon.signals import Signals
from acclimate.errors import ConfigError, Stopped
from tests.unit.daemon.conftest import CONFIG, DAY, House


class Manager(Notifier):
    """Remembers what it was told; `deaf` takes nothing."""

    def __init__(self, watchdog_s: float = 20.0) -> None:
        super().__init__("/somewhere", watchdog_s)
        self.told: list[str] = []
        self.deaf = False

    def tell(self, *fields: str) -> bool:
        self.told += [] if self.deaf else fields
        return not self.deaf

    def count(self, field: str) -> int:
        return sum(one.startswith(field) for one in self.told)


class Clock:
    """Seconds that pass when they are told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A service on a house."""

    def __init__(self, house: House) -> None:
        self.house, self.signals, self.manager = house, Signals(), Manager()
        self.clock = Clock()
        self.wanted: Any = CONFIG
        self.service = Service(self.signals, self.manager, self.read, clock=self.clock)

    def read(self) -> Any:
        if isinstance(self.wanted, ConfigError):
            raise self.wanted
        return self.wanted

    def look(self, seconds: float = 0.0, reports: bool = True, frames: int = 10) -> None:
        """Time passes; the runtime reports (or not), the house and the service look."""
        self.clock.now += seconds
        if reports:
            self.house.serving.stream(DAY, times=1)
            self.house.serving.said[-1]["frames"] = frames
            self.house.serving.ledger["served"] += frames
        self.house.ticks(1)
        self.service.look(self.house.life)


@pytest.fixture
def watched(house: House) -> Watched:
    one = Watched(house)
    house.life.start()
    return one


# ---- ready


def test_it_is_ready_with_the_first_frame_and_says_so_once(watched: Watched) -> None:
    watched.look(reports=False)
    watched.look(1, frames=0)
    assert watched.manager.count("READY") == 0, "the runtime is up, but nothing is served"
    watched.look(1)
    watched.look(1)
    assert watched.manager.count("READY=1") == 1


def test_a_ready_that_was_not_taken_is_said_again(watched: Watched) -> None:
    watched.manager.deaf = True
    watched.look()
    watched.manager.deaf = False
    watched.look(1)
    assert watched.manager.count("READY=1") == 1


def test_a_start_may_wait_for_its_camera(watched: Watched) -> None:
    for _ in range(100):
        watched.look(5, frames=0)
    assert watched.manager.count("EXTEND_TIMEOUT_USEC=60000000") == 100
    watched.look(5)
    assert watched.manager.count("READY=1") == 1
    before = watched.manager.count("EXTEND")
    watched.look(5)
    assert watched.manager.count("EXTEND") == before, "it has started"


def test_a_start_whose_runtime_is_frozen_gets_no_more_time(watched: Watched) -> None:
    watched.look(frames=0)
    before = watched.manager.count("EXTEND")
    for _ in range(20):
        watched.look(5, reports=False)
    assert watched.manager.count("EXTEND") == before


# ---- the watchdog


def test_it_is_fed_while_the_loop_turns_camera_or_not(watched: Watched) -> None:
    watched.look()
    for i in range(1, 40):
        watched.look(1, frames=10 if i % 2 else 0)
    assert 7 <= watched.manager.count("WATCHDOG=1") <= 10, "four times in its 20 s, not each tick"


def test_a_frozen_loop_starves_it_and_one_that_goes_on_feeds_it_again(watched: Watched) -> None:
    watched.look()
    watched.look(6)
    before = watched.manager.count("WATCHDOG=1")
    for _ in range(100):
        watched.look(1, reports=False)
    assert watched.manager.count("WATCHDOG=1") == before
    watched.look(1)
    assert watched.manager.count("WATCHDOG=1") == before + 1


def test_a_report_just_after_a_beat_counts_for_the_next(watched: Watched) -> None:
    watched.look()
    watched.look(0.1)
    watched.look(6, reports=False)
    assert watched.manager.count("WATCHDOG=1") == 2


def test_a_long_inference_is_no_frozen_loop(watched: Watched) -> None:
    watched.look()
    fed = [watched.clock.now]
    for _ in range(10):
        for _ in range(24):
            watched.look(0.5, reports=False)
        watched.look(0.5)
        fed += [watched.clock.now] * (watched.manager.count("WATCHDOG=1") - len(fed))
    assert max(b - a for a, b in pairwise(fed)) < 20


def test_a_fresh_runtime_has_time_to_load_but_not_for_ever(watched: Watched) -> None:
    watched.look()
    watched.house.serving.crash()
    for _ in range(50):
        watched.look(5, reports=False)
    assert watched.manager.count("WATCHDOG=1") == 51
    for _ in range(50):
        watched.look(5, reports=False)
    assert watched.manager.count("WATCHDOG=1") <= 2 + module.FIRST_WORD_LIMIT / 5


def test_the_heart_of_another_clock() -> None:
    clock = Clock()
    heart, report = Heartbeat(clock), {"frames": 0}
    assert heart.turned(report)
    assert not heart.turned(report)
    assert heart.turned({"frames": 0}), "the same numbers, but said again"


# ---- status, stop


def test_the_status_line(watched: Watched) -> None:
    watched.look()
    watched.look(5)
    line = [one for one in watched.manager.told if one.startswith("STATUS=")][-1]
    assert line.startswith("STATUS=base serves, source live; 20 frames served, 0 dropped; ")
    before = watched.manager.count("STATUS")
    watched.look(1)
    assert watched.manager.count("STATUS") == before, "not at every look"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_asked_for_and_told(watched: Watched, number: int) -> None:
    watched.look()
    watched.signals.note(number)
    watched.look()
    assert watched.service.stop.is_set()
    watched.service.stopping(10)
    assert watched.manager.told[-3:] == [
        "STOPPING=1", "EXTEND_TIMEOUT_USEC=25000000", "STATUS=stopping",
    ]  # fmt: skip


def test_preparing_takes_as_long_as_it_takes_but_not_for_ever(watched: Watched) -> None:
    for _ in range(60):
        watched.service.preparing()
        watched.clock.now += 30
    assert watched.manager.count("EXTEND_TIMEOUT_USEC=60000000") == 60
    watched.clock.now += module.PREPARE_LIMIT
    watched.service.preparing()
    assert watched.manager.count("EXTEND") == 60


def test_preparing_ends_where_somebody_says_stop(watched: Watched) -> None:
    watched.service.preparing()
    watched.signals.note(signal.SIGTERM)
    with pytest.raises(Stopped):
        watched.service.preparing()


# ---- reload


def test_a_reload_is_told_from_its_beginning_to_its_end(watched: Watched) -> None:
    watched.look()
    watched.signals.note(signal.SIGHUP)
    watched.service.look(watched.house.life)
    assert watched.manager.told[-2] == "RELOADING=1"
    assert watched.manager.told[-1].startswith("MONOTONIC_USEC=")
    assert watched.manager.count("READY=1") == 1
    watched.look()
    watched.look()
    assert watched.manager.count("READY=1") == 2
    assert watched.house.kinds[-1] == "config_reloaded"


def test_a_reload_may_take_long_while_the_old_runtime_serves(watched: Watched) -> None:
    watched.look()
    watched.wanted = replace(CONFIG, source=SourceConfig(url="film.mp4"))
    watched.house.serving.slow = True
    watched.signals.note(signal.SIGHUP)
    watched.look(10)
    before = watched.manager.count("EXTEND_TIMEOUT_USEC=60000000")
    for _ in range(3):
        watched.look(10)
    assert watched.manager.count("EXTEND_TIMEOUT_USEC=60000000") == before + 3
    assert watched.manager.count("READY=1") == 1
    assert watched.house.serving.standby is not None
    watched.house.serving.standby.stands_by = True
    watched.look()
    watched.look()
    assert watched.manager.count("READY=1") == 2
    told = watched.manager.count("EXTEND_TIMEOUT_USEC=60000000")
    watched.look(10)
    assert watched.manager.count("EXTEND_TIMEOUT_USEC=60000000") == told


def test_a_refused_reload_ends_too(watched: Watched) -> None:
    watched.look()
    watched.wanted = ConfigError(["drift.threshold: 0 must be greater than 0", "sourse: unknown"])
    watched.signals.note(signal.SIGHUP)
    watched.look()
    watched.look()
    assert watched.manager.count("READY=1") == 2
    assert len(watched.house.last("config_refused")["problems"]) == 2
    assert watched.house.life.config is CONFIG


def test_a_reload_does_not_make_a_start_ready(watched: Watched) -> None:
    watched.signals.note(signal.SIGHUP)
    watched.look(frames=0)
    watched.look(frames=0)
    assert watched.house.kinds[-1] == "config_reloaded"
    assert watched.manager.count("RELOADING") == watched.manager.count("READY") == 0


def test_without_a_file_a_reload_says_why_it_does_nothing(house: House) -> None:
    signals = Signals()
    house.life.start()
    signals.note(signal.SIGHUP)
    Service(signals).look(house.life)
    house.ticks(1)
    assert "without --config" in house.last("config_refused")["problems"][0]
    assert not list(Path(house.folder).glob("config.json"))
