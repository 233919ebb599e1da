"""The box between camera and engine: which frame is handed out, and when it waits."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from acclimate.runtime.box import FrameBox
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.source import Captured
from tests.conftest import wait_until

IMAGE = np.zeros((2, 2, 3), np.uint8)


def put(box: FrameBox, ledger: Ledger, *numbers: int) -> None:
    for number in numbers:
        ledger.capture()
        box.put(Captured(number, 0.0, 0.0, IMAGE))


def rest(box: FrameBox) -> list[int]:
    """What can be taken without waiting."""
    return [frame.frame_id for frame in iter(lambda: box.get(0), None)]


def started(target: object, *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


@pytest.mark.parametrize(("slots", "left"), [(1, [4]), (3, [2, 3, 4]), (9, [0, 1, 2, 3, 4])])
def test_a_full_box_gives_up_its_oldest(slots: int, left: list[int]) -> None:
    ledger = Ledger()
    box = FrameBox(ledger, newest=True, slots=slots)
    put(box, ledger, 0, 1, 2, 3, 4)
    assert rest(box) == left
    assert ledger.totals()["dropped"].get("superseded", 0) == 5 - len(left)


def test_every_frame_waits_for_its_room() -> None:
    ledger = Ledger()
    box = FrameBox(ledger, newest=False)
    put(box, ledger, 0)
    thread = started(put, box, ledger, 1)
    wait_until(lambda: ledger.captured == 2, 5, "the second frame")
    thread.join(0.1)
    assert thread.is_alive()
    assert rest(box)[0] == 0
    thread.join(5)
    assert not thread.is_alive()
    assert ledger.totals()["dropped"] == {}


def test_a_waiting_camera_is_let_go_by_close() -> None:
    ledger = Ledger()
    box = FrameBox(ledger, newest=False)
    put(box, ledger, 0)
    thread = started(put, box, ledger, 1)
    wait_until(lambda: ledger.captured == 2, 5, "the second frame")
    box.close()
    thread.join(5)
    assert not thread.is_alive()
    assert (box.done, rest(box)) == (True, [])
    assert ledger.totals() == {
        "captured": 2, "served": 0, "dropped": {"stopped": 2}, "balanced": True,
    }  # fmt: skip


def test_a_waiting_engine_is_woken_by_a_frame_and_by_the_end() -> None:
    ledger = Ledger()
    box = FrameBox(ledger, newest=True)
    seen: list[Captured | None] = []
    engine = started(lambda: seen.extend([box.get(30), box.get(30)]))
    put(box, ledger, 7)
    wait_until(lambda: len(box._frames) == 0, 5, "the frame to be taken")
    box.end()
    engine.join(5)
    assert [frame and frame.frame_id for frame in seen] == [7, None]


def test_after_the_end_what_lies_there_is_still_handed_out() -> None:
    ledger = Ledger()
    box = FrameBox(ledger, newest=False, slots=2)
    put(box, ledger, 0, 1)
    box.end()
    assert not box.done
    put(box, ledger, 2)
    assert rest(box) == [0, 1]
    assert box.done
    assert ledger.totals()["dropped"] == {"stopped": 1}


def test_an_empty_box_gives_nothing_and_closing_twice_counts_once() -> None:
    ledger = Ledger()
    box = FrameBox(ledger, newest=True)
    assert box.get(0) is None
    assert not box.done
    put(box, ledger, 0)
    box.close()
    box.close()
    assert ledger.totals()["dropped"] == {"stopped": 1}


def test_every_frame_comes_once_and_in_order() -> None:
    ledger, seen = Ledger(), []
    box = FrameBox(ledger, newest=False)

    def film() -> None:
        put(box, ledger, *range(500))
        box.end()

    thread = started(film)
    while not box.done:
        if (frame := box.get(0.01)) is not None:
            seen.append(frame.frame_id)
            ledger.serve()
    thread.join(5)
    assert seen == list(range(500))
    assert ledger.totals()["balanced"]


@pytest.mark.parametrize("newest", [True, False])
def test_closed_in_the_middle_the_books_balance(newest: bool) -> None:
    ledger = Ledger()
    box = FrameBox(ledger, newest, slots=2)
    camera = started(put, box, ledger, *range(300))
    while ledger.served < 20 and not (newest and ledger.captured == 300):
        if box.get(0.01):
            ledger.serve()
    box.close()
    camera.join(5)
    totals = ledger.totals()
    assert totals["balanced"]
    assert totals["captured"] == 300
