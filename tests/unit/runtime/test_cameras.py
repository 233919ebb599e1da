"""Several cameras, one engine: turns are fair, books are apart, and one that fails ends alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from acclimate.configs.source import SourceConfig
from acclimate.errors import SourceError
from acclimate.runtime import cameras as module
from acclimate.runtime.cameras import Cameras
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.source import Captured
from tests.conftest import wait_until

IMAGE = np.zeros((2, 2, 3), np.uint8)


class Given:
    """A source of so many frames: "12", or "12!" which then fails, "12?!" as nobody foresaw; "~"
    never says anything."""

    fps, reason = 10.0, ""

    def __init__(self, url: str) -> None:
        self.url, self.state, self.live = url, "connecting", url == "~"

    def frames(self, ledger: Ledger, stop: threading.Event) -> Iterator[Captured]:
        if self.url == "~":
            stop.wait()
            return
        self.state = "live"
        for number in range(int(self.url.rstrip("?!"))):
            ledger.capture()
            yield Captured(number, time.monotonic(), number / self.fps, IMAGE)
        if self.url.endswith("?!"):
            raise ZeroDivisionError
        if self.url.endswith("!"):
            raise SourceError("the cable is gone")
        self.state = "ended"


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    """Set at the end, so that no thread is left."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def told() -> list[str]:
    """What was complained of."""
    return []


def started(
    urls: dict[str, str], stop: threading.Event, told: list[str], monkeypatch: pytest.MonkeyPatch,
    policy: str = "auto",
) -> Cameras:  # fmt: skip
    monkeypatch.setattr(module, "open_source", lambda config, size: Given(config.url))
    configs = {n: SourceConfig(url=url, policy=policy) for n, url in urls.items()}  # type: ignore[arg-type]
    found = Cameras(configs, (1, 1))
    found.start(stop, told.append)
    return found


def taken(cameras: Cameras, most: int = 1000) -> list[tuple[str, int]]:
    """(camera, frame) in the order they are handed out; each is served."""
    turns = []
    while not cameras.done and len(turns) < most:
        if (turn := cameras.get(0.01)) is not None:
            turn[0].ledger.serve()
            turns.append((turn[0].name, turn[1].frame_id))
    return turns


def test_every_frame_of_every_camera_comes_once_and_in_order(
    stop: threading.Event, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"front": 40, "left": 25, "rear": 1}
    urls = {name: str(count) for name, count in counts.items()}
    cameras = started(urls, stop, told, monkeypatch)
    turns = taken(cameras)
    for name, count in counts.items():
        assert [number for who, number in turns if who == name] == list(range(count))
    assert cameras.totals() == {"captured": 66, "served": 66, "dropped": {}, "balanced": True}
    assert (cameras.state, told) == ("ended", [])


def test_turns_are_fair_while_all_have_frames(
    stop: threading.Event, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras = started({"a": "50", "b": "50", "c": "50"}, stop, told, monkeypatch)
    turns = []
    for _ in range(30):
        wait_until(lambda: all(c.box._frames for c in cameras.each.values()), 5, "full boxes")
        turn = cameras.get(1)
        assert turn is not None
        turn[0].ledger.serve()
        turns.append(turn[0].name)
    assert all(set(turns[i : i + 3]) == {"a", "b", "c"} for i in range(0, 30, 3)), turns


def test_one_that_fails_ends_alone_and_is_named(
    stop: threading.Event, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras = started({"good": "30", "bad": "3!"}, stop, told, monkeypatch)
    turns = taken(cameras)
    assert (len(turns), cameras.totals()["balanced"]) == (33, True)
    assert told == ["the source bad failed: the cable is gone"]
    assert cameras.story()["bad"]["state"] == "failed"
    assert cameras.state == "failed", "all are done, and one of them not in peace"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_one_that_fails_as_nobody_foresaw_is_told_too(
    stop: threading.Event, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras = started({"a": "2?!", "b": "3"}, stop, told, monkeypatch)
    while not cameras.done:
        cameras.get(timeout=0.05)
    cameras.close(timeout=10.0)
    assert {name: one["state"] for name, one in cameras.story().items()} == {
        "a": "failed", "b": "ended",
    }  # fmt: skip
    assert told == ["the source a ended unexpectedly; see the runtime's log, and tell its makers"]


def test_a_silent_one_holds_up_nobody(
    stop: threading.Event, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras = started({"talks": "30", "silent": "~"}, stop, told, monkeypatch)
    assert len(taken(cameras, 30)) == 30
    wait_until(lambda: cameras.story()["talks"]["state"] == "ended", 5, "the end of one")
    assert (cameras.done, cameras.live, cameras.state) == (False, True, "connecting")
    stop.set()
    cameras.close(5)
    assert cameras.done


def test_newest_wins_for_each_by_itself(
    stop: threading.Event, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras = started({"a": "20", "b": "7"}, stop, told, monkeypatch, policy="newest")
    wait_until(lambda: cameras.state == "ended", 5, "the end of both")
    assert sorted(taken(cameras)) == [("a", 19), ("b", 6)]
    drops = {name: one["dropped"] for name, one in cameras.story().items()}
    assert drops == {"a": {"superseded": 19}, "b": {"superseded": 6}}
    assert cameras.totals()["dropped"] == {"superseded": 25}
    assert cameras.totals()["balanced"]


def test_closed_in_the_middle_the_books_balance(
    stop: threading.Event, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras = started({"a": "500", "b": "500"}, stop, told, monkeypatch)
    taken(cameras, 40)
    stop.set()
    cameras.close(5)
    totals = cameras.totals()
    assert totals["balanced"]
    assert totals["served"] == 40
    assert cameras.get(0) is None
