"""The cameras of one daemon: each has a thread, a box and a ledger of its own. The engine takes
their frames by turns: where it is too slow for all, every camera loses its share."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import cv2

from acclimate.configs.source import SourceConfig
from acclimate.errors import AcclimateError
from acclimate.runtime.box import FrameBox
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.source import Captured, Source, open_source

STATES = ("live", "connecting", "stale", "failed", "ended")
FAILED = "ended unexpectedly; see the runtime's log, and tell its makers"
Complain = Callable[[str], None]


class Camera:
    """One source with its box and its books; `name` is its key in `cameras`."""

    def __init__(
        self, name: str, config: SourceConfig, size: tuple[int, int], changed: threading.Condition
    ) -> None:
        """Raises SourceError, see `open_source`."""
        self.name, self.ledger = name, Ledger()
        self.source: Source = open_source(config, size)
        newest = self.source.live if config.policy == "auto" else config.policy == "newest"
        self.box = FrameBox(self.ledger, newest, changed=changed)

    def capture(self, stop: threading.Event, complain: Complain) -> None:
        """Fill the box until the source ends. One that fails ends alone."""
        try:
            for frame in self.source.frames(self.ledger, stop):
                self.box.put(frame)
        except (AcclimateError, OSError, cv2.error) as error:
            self.source.state = "failed"
            complain(f"the source {self.name} failed: {error}")
        finally:
            if self.source.state not in ("ended", "failed"):  # nobody foresaw what is raised now
                complain(f"the source {self.name} {FAILED}")
                self.source.state = "failed"
            self.box.end()


class Cameras:
    """All of them."""

    def __init__(self, configs: Mapping[str, SourceConfig], size: tuple[int, int]) -> None:
        """`size` (H, W) of the engine's frames. Raises SourceError."""
        self._changed = threading.Condition()
        self.each = {n: Camera(n, one, size, self._changed) for n, one in configs.items()}
        self._turns = list(self.each.values())
        self._threads: list[threading.Thread] = []

    def start(self, stop: threading.Event, complain: Complain) -> None:
        """Begin to capture."""
        for camera in self.each.values():
            thread = threading.Thread(
                target=camera.capture, args=(stop, complain), name=camera.name, daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def get(self, timeout: float) -> tuple[Camera, Captured] | None:
        """The next frame of whoever waited longest for a turn; None after `timeout` seconds."""
        with self._changed:
            found = self._next()
            if found is None and not self.done:
                self._changed.wait(timeout)
                found = self._next()
            return found

    def _next(self) -> tuple[Camera, Captured] | None:
        for camera in self._turns:
            if (frame := camera.box.get(0)) is not None:
                self._turns.remove(camera)
                self._turns.append(camera)
                return camera, frame
        return None

    @property
    def done(self) -> bool:
        """Have all of them ended, with every frame handed out?"""
        return all(camera.box.done for camera in self.each.values())

    @property
    def live(self) -> bool:
        """Does one of them go on for ever?"""
        return any(camera.source.live for camera in self.each.values())

    @property
    def state(self) -> str:
        """The best of their states: a daemon that sees with one camera is alive."""
        states = {camera.source.state for camera in self.each.values()}
        return next(state for state in STATES if state in states)

    def totals(self) -> dict[str, Any]:
        """The ledgers as one: captured, served, dropped by reason, and whether they balance."""
        books = [camera.ledger.totals() for camera in self.each.values()]
        dropped: Counter[str] = Counter()
        for book in books:
            dropped.update(book["dropped"])
        return {
            "captured": sum(book["captured"] for book in books),
            "served": sum(book["served"] for book in books), "dropped": dict(dropped),
            "balanced": all(book["balanced"] for book in books),
        }  # fmt: skip

    def story(self) -> dict[str, Any]:
        """State, what it suffers from or how it decodes, and ledger of each."""
        return {
            name: {
                "state": camera.source.state,
                "reason": camera.source.reason,
                **camera.ledger.totals(),
            }
            for name, camera in self.each.items()
        }

    def close(self, timeout: float) -> None:
        """No more frames; those that wait are dropped as "stopped"."""
        for camera in self.each.values():
            camera.box.close()
        for thread in self._threads:
            thread.join(timeout)
