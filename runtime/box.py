"""Between the camera's thread and the engine's: the newest frame, or every frame."""

from __future__ import annotations

import threading
from collections import deque

from acclimate.runtime.ledger import Ledger
from acclimate.runtime.source import Captured


class FrameBox:
    """A box of `slots` frames.

    `newest`: a full box gives up its oldest frame (dropped as "superseded") and `put` never
    waits. Otherwise `put` waits for room, so that nothing is lost.
    """

    def __init__(
        self, ledger: Ledger, newest: bool, slots: int = 1,
        changed: threading.Condition | None = None,
    ) -> None:  # fmt: skip
        """`changed` is told of every frame and of the end; several boxes may share one."""
        self._ledger, self._newest, self._slots = ledger, newest, slots
        self._frames: deque[Captured] = deque()
        self._changed = changed or threading.Condition()
        self._closed = False

    def put(self, frame: Captured) -> None:
        """Offer a captured frame; after `close` it is dropped as "stopped"."""
        with self._changed:
            while not self._newest and len(self._frames) >= self._slots and not self._closed:
                self._changed.wait()
            if self._closed:
                self._ledger.drop("stopped")
                return
            if len(self._frames) >= self._slots:
                self._frames.popleft()
                self._ledger.drop("superseded")
            self._frames.append(frame)
            self._changed.notify_all()

    def get(self, timeout: float) -> Captured | None:
        """The next frame, or None after `timeout` seconds or at the end."""
        with self._changed:
            if not self._frames and not self._closed:
                self._changed.wait(timeout)
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._changed.notify_all()
            return frame

    def end(self) -> None:
        """The source has no more frames; what lies in the box is still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop now; frames still in the box are dropped as "stopped"."""
        with self._changed:
            self._closed = True
            for _ in self._frames:
                self._ledger.drop("stopped")
            self._frames.clear()
            self._changed.notify_all()

    @property
    def done(self) -> bool:
        """Ended or closed, and empty."""
        with self._changed:
            return self._closed and not self._frames
