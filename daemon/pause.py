"""No rounds for a while: kept on disk, told by a clock that does not jump."""

from __future__ import annotations

import time

from acclimate.daemon.registry import Registry


class Pause:
    """What is left of a pause goes on after a restart; a wall clock set back in between never makes
    it longer than it was asked for."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._until: float | None = None  # monotonic; None: no end, or no pause
        kept = registry.state.paused
        if kept is not None and kept["seconds"] is not None:
            gone = max(0.0, time.time() - kept["since"])
            self._until = time.monotonic() + kept["seconds"] - gone

    @property
    def left(self) -> float | None:
        """Seconds of a pause that has an end."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    @property
    def over(self) -> bool:
        """Is there one whose time is up?"""
        return self._registry.state.paused is not None and self.left == 0

    def begin(self, seconds: float | None) -> None:
        """No rounds for so long; None: until `end`."""
        self._until = None if seconds is None else time.monotonic() + seconds
        self._registry.pause({"since": time.time(), "seconds": seconds})

    def end(self) -> None:
        """Rounds may start again."""
        self._until = None
        self._registry.pause(None)
