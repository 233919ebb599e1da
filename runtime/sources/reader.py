"""The thread that reads one connection, whatever becomes of its frames."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import count

from acclimate.errors import SourceError
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.sources.captured import Captured
from acclimate.runtime.sources.connection import Connection
from acclimate.runtime.sources.decoding import Shot
from acclimate.runtime.sources.timeline import Timeline

RECENT = 5.0  # seconds: a kernel stamp older than that is of another clock


class Inlet:
    """What outlives a connection: the books, the numbers of frames, the time line."""

    def __init__(self, ledger: Ledger, slots: int, stamped: bool) -> None:
        """At most `slots` frames wait, then the oldest is dropped as "superseded". `stamped`: the
        camera's clock is ours (V4L2)."""
        self.ledger, self.slots = ledger, slots
        self._stamped, self._numbers, self.timeline = stamped, count(), Timeline()

    def take(self, shot: Shot) -> Captured | None:
        """Counted, numbered and dated; None for what has no picture."""
        number = next(self._numbers)
        self.ledger.capture()
        if shot.image is None:
            self.ledger.drop(shot.flaw)
            return None
        at = shot.at
        if self._stamped and shot.seconds is not None and 0 <= at - shot.seconds < RECENT:
            at = shot.seconds
        return Captured(number, at, self.timeline.at(shot.at, shot.seconds), shot.image)


class Reader(threading.Thread):
    """Reads until the connection ends, breaks or is given up; never waits for who takes the frames.

    `trouble` is why it ended by itself; `words` how it decodes, once it is open.
    """

    def __init__(self, connect: Callable[[], Connection], inlet: Inlet) -> None:
        super().__init__(name="reader", daemon=True)
        self.trouble: SourceError | None = None
        self.words, self.fps = "", 0.0
        self._connection, self._inlet = connect(), inlet
        self._frames: deque[Captured] = deque()
        self._changed = threading.Condition()
        self._over = False
        inlet.timeline.reconnected()
        self.start()

    def run(self) -> None:
        """The thread; see the class."""
        connection = self._connection
        try:
            connection.open()
            self.words, self.fps = connection.how, connection.fps
            for shot in connection.shots():
                if not self._keep(shot):
                    return
            self.trouble = SourceError("the stream ended")
        except (SourceError, OSError) as error:
            self.trouble = error if isinstance(error, SourceError) else SourceError(str(error))
        finally:
            connection.close()
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _keep(self, shot: Shot) -> bool:
        with self._changed:
            if self._over:
                return False  # given up: what comes now was never captured
            frame = self._inlet.take(shot)
            if frame is not None:
                if len(self._frames) >= self._inlet.slots:
                    self._frames.popleft()
                    self._inlet.ledger.drop("superseded")
                self._frames.append(frame)
                self._changed.notify_all()
            return True

    def get(self, timeout: float) -> Captured | None:
        """The oldest frame that waits, or None after `timeout` seconds or at the end."""
        with self._changed:
            if not self._frames and not self._over:
                self._changed.wait(timeout)
            return self._frames.popleft() if self._frames else None

    @property
    def over(self) -> bool:
        """Has it ended, and was every frame taken?"""
        with self._changed:
            return self._over and not self._frames

    def give_up(self) -> None:
        """Count nothing more; frames that wait are dropped as "stopped"."""
        with self._changed:
            self._over = True
            for _ in self._frames:
                self._inlet.ledger.drop("stopped")
            self._frames.clear()
            self._changed.notify_all()
        self._connection.end()
