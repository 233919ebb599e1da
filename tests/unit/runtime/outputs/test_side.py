"""Outputs never hold up the engine: what they have no time for passes by and is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import cv2
import pytest

from acclimate.runtime.outputs import side as module
from acclimate.runtime.outputs.side import Shown, Side
from tests.conftest import wait_until


class Door:
    """An output that waits until it is opened, and fails on the frames it is told to."""

    def __init__(self, *bad: int, takes: bool = True) -> None:
        self.open, self.seen, self.bad, self.takes = threading.Event(), [], bad, takes  # type: ignore[var-annotated]
        self.closed = False

    def write(self, shown: Shown) -> bool:
        self.open.wait(60)
        if shown.frame.frame_id in self.bad:
            raise OSError(28, "No space left on device")
        self.seen.append(shown.frame.frame_id)
        return self.takes

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def door() -> Iterator[Door]:
    one = Door()
    yield one
    one.open.set()


def test_a_busy_output_lets_results_pass(door: Door, shown: Callable[..., Shown]) -> None:
    side, results = Side(door, hz=0), [shown(number) for number in range(30)]
    for one in results:
        side.offer(one)
    assert side.skipped >= 30 - 9  # one in hand, eight waiting
    door.open.set()
    side.close()
    counts = side.counts()
    assert counts["written"] + counts["skipped"] == 30
    assert door.seen == sorted(door.seen)
    assert door.closed


def test_no_more_than_hz_of_each_camera(shown: Callable[..., Shown]) -> None:
    door = Door()
    door.open.set()
    side = Side(door, hz=0.01)
    for number in range(4):
        side.offer(shown(number, "front"))
        side.offer(shown(number, "rear"))
    side.close()
    assert (door.seen, side.skipped) == ([0, 0], 0)


def test_a_failure_is_told_once_rested_and_forgotten(
    shown: Callable[..., Shown], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "PAUSE", 0.0)
    door = Door(1, 2)
    door.open.set()
    side = Side(door, hz=0)
    for number in (0, 1, 2):
        side.offer(shown(number))
    wait_until(lambda: side.failed == 2, 5, "two failures")
    assert "No space" in str(side.counts()["trouble"])
    side.offer(shown(3))
    wait_until(lambda: side.written == 2, 5, "the recovery")
    assert side.counts()["trouble"] is None
    side.close()
    assert capsys.readouterr().err.count("No space") == 1


def test_after_a_failure_it_rests(shown: Callable[..., Shown]) -> None:
    door = Door(0)
    door.open.set()
    side = Side(door, hz=0)
    side.offer(shown(0))
    wait_until(lambda: side.failed == 1, 5, "the failure")
    side.offer(shown(1))
    side.close()
    assert (side.written, side.skipped, door.seen) == (0, 1, [])


@pytest.mark.parametrize("error", [ValueError("too long"), cv2.error("no such picture")])
def test_what_a_library_refuses_is_a_failure_like_others(
    shown: Callable[..., Shown], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(_: Shown) -> bool:
        raise error

    door = Door()
    monkeypatch.setattr(door, "write", refuse)
    side = Side(door, hz=0)
    side.offer(shown(0))
    wait_until(lambda: side.failed == 1, 5, "the failure")
    side.close()
    assert (side.trouble, door.closed) == (str(error), True)


def test_what_nobody_could_take_is_not_written(shown: Callable[..., Shown]) -> None:
    door = Door(takes=False)
    door.open.set()
    side = Side(door, hz=0)
    side.offer(shown(0))
    side.close()
    assert (side.written, side.skipped) == (0, 1)


def test_areas_are_shares_by_name(shown: Callable[..., Shown]) -> None:
    one = shown(3)
    found = {name: share for name, share in one.areas.items() if share}
    assert found == {one.words.names[0]: 0.5, one.words.names[3]: 0.5}
    assert len(one.areas) == len(one.words.classes)
