"""A fresh runtime beside the one that serves: it loads all, opens nothing, waits for its turn."""

from __future__ import annotations

import time
from pathlib import Path

from acclimate.daemon.child import Child
from acclimate.errors import EngineError

FIRST_WORD_LIMIT = 600.0  # s: a large engine takes long to be loaded, and no longer than that
Beginning = tuple[str, Path]  # the adapter and the words' file that a runtime starts with


class Standby:
    """`beginning` is what it loads; whoever asks, asks at every tick."""

    def __init__(self, child: Child, beginning: Beginning) -> None:
        self.beginning = beginning
        self._child, self._begun = child, time.monotonic()
        self._stands, self._trouble = False, ""

    def stands(self) -> bool:
        """Has it loaded all? Raises EngineError with the reason why it never will."""
        for event in self._child.events():
            self._stands |= event["event"] == "standby"
            self._trouble = event.get("message", self._trouble)
        if (code := self._child.exit_code) is not None:
            raise EngineError(self._trouble or f"exit code {code}; see {self._child.log}")
        if not self._stands and time.monotonic() - self._begun > FIRST_WORD_LIMIT:
            raise EngineError(f"not loaded within {FIRST_WORD_LIMIT:g} s")
        return self._stands

    def go(self) -> Child:
        """Its turn."""
        self._child.send({"cmd": "go"})
        return self._child

    def end(self) -> None:
        """It has nothing to finish."""
        self._child.kill()
