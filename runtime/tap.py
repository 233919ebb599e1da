"""Served frames on their way to the buffer: a side street that never holds up the traffic."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.errors import ConfigError, SourceError
from acclimate.runtime.buffer import LOOK_EVERY, FrameBuffer
from acclimate.runtime.engine import Result

Offer = tuple[NDArray[np.uint8], Result, str]


class Tap:
    """One slot and one thread: while the disk is busy, frames pass by and are counted."""

    def __init__(self, buffer: FrameBuffer) -> None:
        self._buffer = buffer
        self._slot: queue.Queue[Offer | None] = queue.Queue(1)
        self._thread = threading.Thread(target=self._run, name="tap", daemon=True)
        self._lock = threading.Lock()
        self.skipped = self.failed = 0
        self.trouble: str | None = None
        self._thread.start()

    def offer(self, frame: NDArray[np.uint8], result: Result, camera: str = "") -> None:
        """Hand over a camera's frame if the buffer is idle; never waits."""
        try:
            self._slot.put_nowait((frame, result, camera))
        except queue.Full:
            self.skipped += 1

    def close(self, timeout: float = 5.0) -> None:
        """Let the last write finish."""
        try:
            self._slot.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def purge(self, hours: float, tell: Callable[[dict[str, Any]], None]) -> None:
        """Remove frames older than that, 0: all, and then the key that they were encrypted with;
        never waits. `tell` gets {"frames", "trouble"?, "key_trouble"?} when it is done."""
        threading.Thread(target=self._purge, args=(hours, tell), daemon=True).start()

    def _purge(self, hours: float, tell: Callable[[dict[str, Any]], None]) -> None:
        told: dict[str, Any] = {"frames": 0}
        try:
            with self._lock:
                told["frames"] = self._buffer.purge(hours)
                if not hours:
                    told |= self._forget_key()
        except OSError as error:
            told["trouble"] = f"the disk refuses: {error}"
        tell(told)

    def _forget_key(self) -> dict[str, str]:
        try:
            self._buffer.forget_key()
        except (OSError, ConfigError) as error:
            return {"key_trouble": str(error)}
        return {}

    def counts(self) -> dict[str, Any]:
        """What the buffer holds and what became of the offers."""
        buffer = self._buffer
        return {
            "entries": len(buffer.entries), "bytes": buffer.bytes, "admitted": buffer.admitted,
            "offered": buffer.offered, "skipped": self.skipped, "failed": self.failed,
        }  # fmt: skip

    def _run(self) -> None:
        while (offer := self._next()) is not None:
            frame, result, camera = offer
            try:
                with self._lock:
                    self._buffer.offer(frame, result.histogram, result.embedding, camera)
                self.trouble = None
            except (OSError, ValueError, cv2.error, SourceError) as error:
                self.failed += 1
                self.trouble = f"the buffer cannot be written ({error}); serving goes on"

    def _next(self) -> Offer | None:
        """The next offer; while there is none, frames grow old and go."""
        while True:
            try:
                return self._slot.get(timeout=LOOK_EVERY)
            except queue.Empty:
                with self._lock:
                    self._buffer.forget_old()
