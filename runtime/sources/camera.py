"""A camera: whatever happens to it, it is tried again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

from acclimate.configs.source import SourceConfig, public
from acclimate.errors import RefusedError, SourceError
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.sources.address import address_of
from acclimate.runtime.sources.captured import Captured
from acclimate.runtime.sources.connection import AvConnection, Connection
from acclimate.runtime.sources.gstreamer import GstConnection, pipeline_of
from acclimate.runtime.sources.reader import Inlet, Reader
from acclimate.runtime.sources.timeline import LONGEST_PAUSE, pauses

QUEUE = 32  # frames of a live source that wait where every one is wanted
MOST_HANGING = 3  # readers in a call that never came back
TICK = 0.1  # seconds until a stop is seen
log = logging.getLogger("acclimate.source")


class CameraSource:
    """A camera on the network, on a cable or behind a pipeline; reconnects for ever.

    Silent for `stale_seconds`, or broken, it is stale (failed, if it never gave a frame) until it
    is there again. Frames are read by a thread of their own, so a slow engine, or a call that
    hangs, costs frames and nothing else.
    """

    live = True

    def __init__(self, url: str, config: SourceConfig) -> None:
        """Raises SourceError where the url can't be one."""
        self.state, self.reason, self.fps = "connecting", "", 25.0
        self._name, self._config = public(url), config
        self._stamped = False
        self._connect = self._connections(url)
        self._readers: list[Reader] = []

    def _connections(self, url: str) -> Callable[[], Connection]:
        if url.startswith("gst:"):
            elements = pipeline_of(url)
            return lambda: GstConnection(elements)
        address = address_of(url, self._config)
        self._stamped = address.device is not None
        silence, hardware = self._config.stale_seconds, self._config.hardware_decode
        return lambda: AvConnection(address, silence, hardware)

    def frames(self, ledger: Ledger, stop: threading.Event) -> Iterator[Captured]:
        """Frames while there are any. A frame that waits too long gives way to newer ones."""
        every = self._config.policy == "every"
        inlet = Inlet(ledger, QUEUE if every else 1, self._stamped)
        tries = self._pauses()
        while not stop.is_set():
            trouble: SourceError | None = self._hanging()
            if trouble is None:
                reader = Reader(self._connect, inlet)
                self._readers.append(reader)
                try:
                    for frame in self._drain(reader, stop):
                        tries = self._pauses()
                        yield frame
                finally:
                    reader.give_up()
                silence = SourceError(f"no picture for {self._config.stale_seconds:g} s")
                trouble = reader.trouble or silence
            if not stop.is_set():
                self._tell("failed" if self.state in ("connecting", "failed") else "stale", trouble)
                pause = next(tries)
                stop.wait(LONGEST_PAUSE if isinstance(trouble, RefusedError) else pause)
        self.state = "ended"

    def _drain(self, reader: Reader, stop: threading.Event) -> Iterator[Captured]:
        """Its frames until it is over, silent or stopped."""
        heard = time.monotonic()
        while not stop.is_set() and not reader.over:
            frame = reader.get(TICK)
            if frame is None:
                if time.monotonic() - heard > self._config.stale_seconds:
                    return
                continue
            if self.state != "live":
                self.fps = reader.fps
                self._tell("live", reader.words)
            yield frame
            heard = time.monotonic()

    def _pauses(self) -> Iterator[float]:
        return pauses(self._config.reconnect_seconds)

    def _hanging(self) -> SourceError | None:
        """Threads can't be ended from outside: no more of them while too many hang."""
        self._readers = [reader for reader in self._readers if reader.is_alive()]
        if len(self._readers) < MOST_HANGING:
            return None
        return SourceError(f"{MOST_HANGING} calls to it hang; unplug it, or restart the daemon")

    def _tell(self, state: str, reason: object) -> None:
        """A new state, or a new reason for it, is logged once."""
        told = (self.state, self.reason)
        self.state, self.reason = state, public(str(reason))
        if told != (self.state, self.reason):
            level = logging.INFO if state == "live" else logging.WARNING
            log.log(level, "source %s is %s: %s", self._name, state, self.reason)
