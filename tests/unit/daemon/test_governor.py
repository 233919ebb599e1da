"""Rounds make room for frames: when they are held, when they go on, what it costs them."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from acclimate.daemon.governor import Governor
from tests.conftest import wait_until
from tests.unit.daemon.conftest import DAY, DUSK, House
from tests.unit.daemon.test_rounds import Start, outcome, registry, start

__all__ = ["registry", "start"]


def test_it_holds_at_once_and_lets_go_when_it_is_calm() -> None:
    governor = Governor(50.0)
    story = [(40, False), (51, True), (50, True), (45, True), (49, False), (49, False)]
    assert [governor.heed([float(ms)] * 5) for ms, _ in story] == [held for _, held in story]


def test_calm_must_last() -> None:
    governor = Governor(50.0)
    told = [60.0, 30.0, 30.0, 55.0, 30.0, 30.0, 30.0]
    assert [governor.heed([ms]) for ms in told] == [True] * 6 + [False]


def test_each_time_it_takes_longer_up_to_a_bound() -> None:
    governor, waits = Governor(50.0), []
    for _ in range(6):
        governor.heed([60.0])
        waits.append(1)
        while governor.heed([49.0]):
            waits[-1] += 1
    assert waits == [3, 6, 12, 24, 48, 48]


def test_one_slow_frame_in_ten_is_none_too_many() -> None:
    governor = Governor(50.0)
    assert not governor.heed([10.0] * 10 + [400.0])
    assert governor.heed([10.0] * 8 + [400.0] * 2)


def test_no_limit_and_no_frames_say_nothing() -> None:
    assert not Governor(0.0).heed([1e6])
    governor = Governor(50.0)
    governor.heed([60.0])
    assert [governor.heed([]) for _ in range(9)] == [True] * 9


def slow(house: House, latency_ms: float, times: int) -> None:
    """Intervals of frames that take so long, one at a time."""
    for _ in range(times):
        house.serving.stream(DUSK, times=1)
        house.serving.said[-1]["latency_ms"] = [latency_ms] * 10
        house.ticks(1)


def test_the_daemon_holds_a_round_that_is_in_the_way(house: House) -> None:
    rounds = house.life.rounds
    rounds.config = replace(rounds.config, adapt=replace(rounds.config.adapt, max_latency_ms=50.0))
    house.drive(DAY)
    house.drive(DUSK)
    assert rounds.now is not None
    house.held.clear()
    slow(house, 49.0, 2)
    slow(house, 80.0, 2)
    slow(house, 20.0, 4)
    assert house.held == [False] * 2 + [True] * 4 + [False] * 2
    assert [k for k in house.kinds if k in ("round_held", "round_goes_on")] == [
        "round_held", "round_goes_on",
    ]  # fmt: skip
    assert house.last("round_held")["latency_ms"] == 80.0


def test_a_round_is_left_alone_without_a_limit(house: House) -> None:
    house.drive(DAY)
    house.drive(DUSK)
    slow(house, 9000.0, 3)
    assert not any(house.held)
    assert "round_held" not in house.kinds


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


BUSY = """
    say(event="progress", step=1, steps=40, loss=1.0)
    if os.fork() == 0:
        while True: pass
    time.sleep(0.6)
    say(event="verdict", accepted=False, reasons=["no"], numbers={})
    os.killpg(0, signal.SIGKILL)
"""


def test_a_held_round_takes_no_time_of_the_processor(start: Start) -> None:
    one = start(BUSY)
    wait_until(lambda: one.poll() is None and one.step == 1, 20, "the first step")
    one.hold(True)
    one.hold(True)
    wait_until(lambda: state(one.child.pid) == "T", 20, "the stop")
    group = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdecimal()]
    ours = [pid for pid in group if _group(pid) == one.child.pid]
    before = [cpu_ticks(pid) for pid in ours]
    time.sleep(0.3)
    assert [cpu_ticks(pid) for pid in ours] == before
    assert 0.3 <= one.held <= one.seconds
    one.hold(False)
    assert outcome(one).verdict in ("refused", "failed")


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


def test_standing_still_is_not_held_against_it_up_to_its_deadline(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = start("time.sleep(60)", deadline_s=5.0)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    one.hold(True)
    now += 9.0
    assert (one.poll(), round(one.held)) == (None, 9)
    now += 5.0
    ended = one.poll()
    assert ended is not None
    assert ended.verdict == "deadline"
    assert ended.reasons[0].endswith("s of it held for serving")


def test_a_held_round_can_be_ended(start: Start) -> None:
    one = start("time.sleep(60)")
    one.hold(True)
    one.child.kill()
    assert outcome(one).verdict == "failed"
