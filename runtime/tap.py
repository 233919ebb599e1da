"""Served frames on their way to the buffer: a side street that never holds up the traffic."""

from __future__ import annotations

import queue
import threading
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.engine import Result

Offer = tuple[NDArray[np.uint8], Result]


class Tap:
    """One slot and one thread: while the disk is busy, frames pass by and are counted."""

    def __init__(self, buffer: FrameBuffer) -> None:
        self._buffer = buffer
        self._slot: queue.Queue[Offer | None] = queue.Queue(1)
        self._thread = threading.Thread(target=self._run, name="tap", daemon=True)
        self.skipped = self.failed = 0
        self.trouble: str | None = None
        self._thread.start()

    def offer(self, frame: NDArray[np.uint8], result: Result) -> None:
        """Hand over a frame if the buffer is idle; never waits."""
        try:
            self._slot.put_nowait((frame, result))
        except queue.Full:
            self.skipped += 1

    def close(self, timeout: float = 5.0) -> None:
        """Let the last write finish."""
        try:
            self._slot.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def counts(self) -> dict[str, Any]:
        """What the buffer holds and what became of the offers."""
        buffer = self._buffer
        return {
            "entries": len(buffer.entries), "bytes": buffer.bytes, "admitted": buffer.admitted,
            "offered": buffer.offered, "skipped": self.skipped, "failed": self.failed,
        }  # fmt: skip

    def _run(self) -> None:
        while (offer := self._slot.get()) is not None:
            frame, result = offer
            try:
                self._buffer.offer(frame, result.histogram, result.embedding)
                self.trouble = None
            except (OSError, ValueError, cv2.error) as error:
                self.failed += 1
                self.trouble = f"the buffer cannot be written ({error}); serving goes on"
