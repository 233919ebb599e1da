"""The tap: frames reach the buffer, and a slow or full disk holds nothing up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from acclimate.configs.schema import BufferConfig
from acclimate.runtime import buffer as module
from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.durable import write_atomic
from acclimate.runtime.engine import Result
from acclimate.runtime.tap import Tap
from tests.conftest import wait_until

SHARES = np.array([0.5, 0.5], np.float32)


def frame(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)


def result(seed: int) -> Result:
    place = np.array([np.cos(seed), np.sin(seed)], np.float32)
    return Result(np.zeros((8, 8), np.uint8), SHARES, SHARES, place)


@pytest.fixture
def buffer(tmp_path: Path) -> FrameBuffer:
    return FrameBuffer(tmp_path, BufferConfig())


@pytest.fixture
def tap(buffer: FrameBuffer) -> Iterator[Tap]:
    tap = Tap(buffer)
    yield tap
    tap.close()


def offer_one(tap: Tap, seed: int) -> None:
    """Offer a frame and wait until the buffer has taken it up."""
    before = tap.counts()["offered"]
    tap.offer(frame(seed), result(seed))
    wait_until(lambda: tap.counts()["offered"] > before, 5, "the offer")
    wait_until(tap._slot.empty, 5, "an empty slot")


def test_frames_reach_the_buffer(tap: Tap, buffer: FrameBuffer) -> None:
    for seed in range(3):
        offer_one(tap, seed)
    tap.close()
    assert tap.counts() == {
        "entries": 3, "bytes": buffer.bytes, "admitted": 3, "offered": 3, "skipped": 0, "failed": 0,
    }  # fmt: skip
    np.testing.assert_array_equal(buffer.load(buffer.entries[1]), frame(1))


def test_close_lets_the_last_write_finish(tap: Tap, buffer: FrameBuffer) -> None:
    tap.offer(frame(0), result(0))
    tap.close()
    assert buffer.admitted == 1
    assert not tap._thread.is_alive()


def test_offers_never_wait_for_a_slow_disk(
    tap: Tap, buffer: FrameBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def slow(path: Path, content: bytes) -> None:
        assert go.wait(30)
        write_atomic(path, content)

    monkeypatch.setattr(module, "write_atomic", slow)
    started = time.monotonic()
    for seed in range(50):
        tap.offer(frame(seed), result(seed))
    assert time.monotonic() - started < 5
    assert 48 <= tap.skipped <= 49
    go.set()
    tap.close()
    assert buffer.offered + tap.skipped == 50


def test_a_full_disk_is_counted_and_later_forgotten(
    tap: Tap, buffer: FrameBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    offer_one(tap, 0)
    with monkeypatch.context() as patched:
        patched.setattr(module, "write_atomic", full)
        for seed in (1, 2):
            offer_one(tap, seed)
            wait_until(lambda n=seed: tap.failed == n, 5, "the failure")
        assert "No space left" in str(tap.trouble)
        assert "serving goes on" in str(tap.trouble)
    offer_one(tap, 3)
    wait_until(lambda: tap.trouble is None, 5, "the end of the trouble")
    assert (tap.failed, len(buffer.entries)) == (2, 2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_any_failure_is_counted(tap: Tap, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(*_: object) -> None:
        raise ValueError("operands could not be broadcast together")

    with monkeypatch.context() as patched:
        patched.setattr(module, "_encode", odd)
        tap.offer(frame(0), result(0))
        wait_until(lambda: tap.failed == 1 or not tap._thread.is_alive(), 5, "the failure")
    assert tap._thread.is_alive()
    assert tap.failed == 1
