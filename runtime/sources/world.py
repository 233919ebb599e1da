"""The procedural driving world as a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from acclimate.runtime.ledger import Ledger
from acclimate.runtime.sources.captured import Captured
from acclimate.world import Drive, WorldSpec


class WorldSource:
    """The procedural world, paced like a camera at its frame rate."""

    live, reason = True, ""

    def __init__(self, spec: WorldSpec, size: tuple[int, int]) -> None:
        self.spec, self.state, self.fps = spec, "connecting", spec.fps
        self._drive = Drive(spec.seed, spec.size or size, spec.hood, spec.fps)

    def frames(self, ledger: Ledger, stop: threading.Event) -> Iterator[Captured]:
        """Frames at `spec.fps`; a frame that cannot be rendered in time comes late."""
        start, index = time.monotonic(), 0
        self.state = "live"
        while not stop.is_set() and index != self.spec.frames:
            seconds = index / self.spec.fps
            stop.wait(start + seconds - time.monotonic())
            image, _ = self._drive.frame(index, self.spec.shift_at(seconds))
            ledger.capture()
            yield Captured(index, time.monotonic(), seconds, image)
            index += 1
        self.state = "ended"
