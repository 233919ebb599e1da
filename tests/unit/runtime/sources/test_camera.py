"""A camera that dies, hangs, refuses and comes back: never lost, never waited for, all counted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from acclimate.configs.source import SourceConfig
from acclimate.errors import RefusedError, SourceError
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.sources import camera as module
from acclimate.runtime.sources.camera import CameraSource
from acclimate.runtime.sources.captured import Captured
from acclimate.runtime.sources.decoding import Shot
from tests.conftest import wait_until

RED = np.full((8, 8, 3), (255, 0, 0), np.uint8)
Script = list[Any]


class Connection:
    """Plays one script after another: shots, errors to raise, events to wait for."""

    fps, how = 12.0, "decoded by a test"
    scripts: list[Script] = []
    opened: list[Connection] = []

    def __init__(self, *_: object) -> None:
        self._script = self.scripts.pop(0) if self.scripts else [SourceError("unplugged")]
        self.opened.append(self)
        self.closed = self.ended = False

    def open(self) -> None:
        if self._script and isinstance(self._script[0], Exception):
            raise self._script[0]

    def shots(self) -> Iterator[Shot]:
        for step in self._script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, threading.Event):
                step.wait(20)
            else:
                yield step

    def end(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True


class Stage:
    """A camera that plays scripts, its books, and a thread that collects its frames."""

    def __init__(self, *scripts: Script, **config: Any) -> None:
        Connection.scripts, Connection.opened = list(scripts), []
        settings: dict[str, Any] = {"reconnect_seconds": 0.001, "policy": "every", **config}
        self.camera = CameraSource("rtsp://me:secret@x/y", SourceConfig(**settings))
        self.ledger, self.stop = Ledger(), threading.Event()
        self.frames: list[Captured] = []
        self.slow: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._collect, daemon=True)

    def _collect(self) -> None:
        for frame in self.camera.frames(self.ledger, self.stop):
            self.frames.append(frame)
            self.slow()

    def start(self) -> Stage:
        self._thread.start()
        return self

    def until(self, true: Callable[[], object], what: str) -> None:
        wait_until(true, 20, what)

    def end(self) -> None:
        self.stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        assert self.camera.state == "ended"
        dropped = sum(self.ledger.dropped.values())
        assert self.ledger.captured == len(self.frames) + dropped


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AvConnection", Connection)


def shot(seconds: float | None = None, flaw: str = "") -> Shot:
    return Shot(time.monotonic(), seconds, None if flaw else RED, flaw)


def test_a_dead_camera_is_tried_again_until_stopped() -> None:
    stage = Stage().start()
    stage.until(lambda: len(Connection.opened) > 2, "a third try")
    assert (stage.camera.state, stage.camera.reason) == ("failed", "unplugged")
    stage.end()
    assert stage.ledger.captured == 0
    assert all(connection.closed for connection in Connection.opened)


def test_a_camera_that_comes_back_goes_on_counting() -> None:
    hold = threading.Event()
    stage = Stage(
        [shot(7.0), shot(7.1)], [SourceError("busy")], [shot(0.0), shot(0.1), shot(0.2), hold]
    ).start()
    stage.until(lambda: len(stage.frames) == 5, "five frames")
    assert [f.frame_id for f in stage.frames] == [0, 1, 2, 3, 4]
    times = [f.time for f in stage.frames]
    assert times == sorted(times)
    assert times[0] == 0
    assert times[1] == pytest.approx(0.1)
    assert times[4] - times[3] == pytest.approx(0.1)
    assert (stage.camera.state, stage.camera.fps) == ("live", 12.0)
    assert stage.camera.reason == "decoded by a test"
    hold.set()
    stage.until(lambda: stage.camera.state == "stale", "the camera to be stale")
    stage.end()


def test_an_end_is_told_as_one() -> None:
    stage = Stage([shot()], reconnect_seconds=60.0).start()
    stage.until(lambda: stage.camera.state == "stale", "stale")
    assert stage.camera.reason == "the stream ended"
    stage.end()


def test_what_hangs_in_a_call_is_left_and_counts_nothing_more() -> None:
    hang, hold = threading.Event(), threading.Event()
    stage = Stage([shot(), hang, shot()], [shot(), hold], stale_seconds=0.3).start()
    stage.until(lambda: len(stage.frames) == 2, "a frame of the second connection")
    assert Connection.opened[0].ended
    assert not Connection.opened[0].closed
    hang.set()  # the call comes back, with a picture that nobody waits for
    stage.until(lambda: Connection.opened[0].closed, "the first connection to be closed")
    assert stage.ledger.captured == 2
    hold.set()
    stage.end()


def test_no_more_than_three_threads_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()
    stage = Stage(*[[hang] for _ in range(9)], stale_seconds=0.15).start()
    stage.until(lambda: "hang" in stage.camera.reason, "it to say so")
    time.sleep(0.5)
    assert len(Connection.opened) == module.MOST_HANGING
    hang.set()
    stage.until(lambda: len(Connection.opened) > module.MOST_HANGING, "another try")
    stage.end()


@pytest.mark.parametrize("policy", ["newest", "every"])
def test_a_slow_engine_never_stops_the_reading(policy: str) -> None:
    many, slow, hold = 100, threading.Event(), threading.Event()
    stage = Stage([*(shot() for _ in range(many)), hold], policy=policy)
    stage.slow = lambda: slow.wait(20)
    stage.start()
    stage.until(lambda: stage.ledger.captured == many, "every frame to be read")
    assert len(stage.frames) <= 1
    slow.set()
    waiting = 1 if policy == "newest" else module.QUEUE
    stage.until(lambda: [f.frame_id for f in stage.frames[-1:]] == [many - 1], "the newest")
    assert waiting <= len(stage.frames) <= waiting + 1
    hold.set()
    assert set(stage.ledger.dropped) == {"superseded"}
    stage.end()


def test_what_is_no_picture_is_dropped_by_reason() -> None:
    hold = threading.Event()
    story = [shot(flaw="corrupt"), shot(), shot(flaw="corrupt"), shot(), hold]
    stage = Stage(story).start()
    stage.until(lambda: stage.ledger.captured == 4, "four frames")
    assert stage.ledger.dropped == {"corrupt": 2}
    stage.until(lambda: len(stage.frames) == 2, "two of them")
    assert [f.frame_id for f in stage.frames] == [1, 3]
    hold.set()
    stage.end()


def test_who_is_refused_does_not_ask_at_once_again() -> None:
    stage = Stage([RefusedError("no")], [RefusedError("no")]).start()
    stage.until(lambda: stage.camera.state == "failed", "the refusal")
    time.sleep(0.5)
    assert len(Connection.opened) == 1
    stage.end()


def test_trouble_is_logged_once_and_without_the_password(caplog: pytest.LogCaptureFixture) -> None:
    error = SourceError("cannot read rtsp://me:secret@x/y")
    with caplog.at_level(logging.INFO):
        stage = Stage(*[[error] for _ in range(9)]).start()
        stage.until(lambda: len(Connection.opened) > 4, "a few tries")
        stage.end()
    assert caplog.messages[0] == "source rtsp://x/y is failed: cannot read rtsp://x/y"
    assert len([m for m in caplog.messages if "cannot read" in m]) == 1
    assert "secret" not in caplog.text


def test_the_kernel_says_when_a_frame_of_a_cable_was_taken() -> None:
    hold = threading.Event()
    stage = Stage()
    now = time.monotonic()
    Connection.scripts = [[Shot(now, now - 0.2, RED), Shot(now + 1, 0.5, RED), hold]]
    stage.camera = CameraSource("0", SourceConfig(policy="every"))
    stage.start()
    stage.until(lambda: len(stage.frames) == 2, "two frames")
    assert stage.frames[0].captured_at == pytest.approx(now - 0.2)
    assert stage.frames[1].captured_at == pytest.approx(now + 1)  # no clock of ours
    hold.set()
    stage.end()
