"""The daemon as a service: the signals that reach it, and what its manager hears of it.

READY=1 with the first frame served; WATCHDOG=1 while the runtime's loop turns, with frames or
without; RELOADING=1 and STOPPING=1 as they begin; STATUS= for `systemctl status`. A start may take
as long as it takes, as long as something is seen to go on.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from acclimate.configs.schema import Config
from acclimate.daemon.notify import Notifier, longer, monotonic
from acclimate.daemon.signals import STOP, Signals
from acclimate.daemon.status import brief
from acclimate.errors import ConfigError, Stopped

if TYPE_CHECKING:
    from acclimate.daemon.lifecycle import Lifecycle

BEAT = 5.0  # seconds between messages
PATIENCE = 60.0  # what a start is given with each of them
PREPARE_LIMIT = 3600.0  # an engine for a GPU may take that long to build
FIRST_WORD_LIMIT = 300.0  # and this long to be loaded
SWEEPING_UP = 15.0  # a stop takes daemon.stop_timeout_s and at most this
Clock = Callable[[], float]


def no_file() -> Config:
    """What a daemon without --config reads again."""
    raise ConfigError(["it was started without --config: there is no file to read again"])


class Heartbeat:
    """Does the runtime's loop turn? It reports twice a second, with frames or without."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock, self._since = clock, 0.0
        self._last: dict[str, Any] | None = None

    def turned(self, last: dict[str, Any]) -> bool:
        """Is `last`, the newest report, a new one? A fresh runtime ({}) may take its time first."""
        if last is not self._last:
            self._last, self._since = last, self._clock()
            return True
        return not last and self._clock() - self._since < FIRST_WORD_LIMIT


class Service:
    """`stop`: somebody asked it to end. `reread` gives the configuration again for SIGHUP."""

    def __init__(
        self, signals: Signals | None = None, notifier: Notifier | None = None,
        reread: Callable[[], Config] = no_file, stop: threading.Event | None = None,
        clock: Clock = time.monotonic,
    ) -> None:  # fmt: skip
        self.stop = stop or threading.Event()
        self._signals, self._notifier = signals or Signals(), notifier or Notifier()
        self._reread, self._clock = reread, clock
        self._heart, self._turned = Heartbeat(clock), False
        self._ready = self._reload_asked = self._reloading = False
        self._began, self._due, self._fed = clock(), 0.0, -float("inf")
        self._told = ""
        watchdog = self._notifier.watchdog_s
        self._pause = min(BEAT, watchdog / 4) if watchdog else BEAT

    def preparing(self) -> None:
        """To be called while the engine is made; raises Stopped."""
        self._attend()
        if self.stop.is_set():
            raise Stopped("stopped before anything was served")
        if self._is_due() and self._clock() - self._began < PREPARE_LIMIT:
            self._notifier.tell(longer(PATIENCE), "STATUS=preparing the engine")

    def look(self, life: Lifecycle) -> None:
        """At every tick: pass on what was asked, tell how it goes."""
        self._attend()
        if self._reload_asked:
            self._begin_reload(life)
        self._turned |= self._heart.turned(life.stream.last)
        self._tell_ready(life)
        if self._reloading and not life.reload.busy:
            self._reloading = not self._notifier.tell("READY=1")
        self._feed()
        if self._is_due():
            self._tell_status(brief(life))

    def stopping(self, seconds: float) -> None:
        """The end begins and may take so long."""
        self._notifier.tell("STOPPING=1", longer(seconds + SWEEPING_UP), "STATUS=stopping")

    def _attend(self) -> None:
        for number in self._signals.take():
            if number in STOP:
                self.stop.set()
            elif number == signal.SIGHUP:
                self._reload_asked = True

    def _begin_reload(self, life: Lifecycle) -> None:
        self._reload_asked = False
        if self._ready:  # systemd takes the READY=1 after it for the end of a start
            self._reloading = self._notifier.tell("RELOADING=1", monotonic())
        life.reload.ask(self._reread)

    def _tell_ready(self, life: Lifecycle) -> None:
        if not self._ready and life.serving.ledger["served"]:
            self._ready = self._notifier.tell("READY=1", f"STATUS={brief(life)}")

    def _feed(self) -> None:
        """WATCHDOG=1, and more time for a start or a reload, for a loop that turned since the last
        one."""
        if not self._turned or self._clock() - self._fed < self._pause:
            return
        self._turned, self._fed = False, self._clock()
        under_way = self._reloading or not self._ready
        self._notifier.tell("WATCHDOG=1", *([longer(PATIENCE)] if under_way else []))

    def _tell_status(self, text: str) -> None:
        if text != self._told and self._notifier.tell(f"STATUS={text}"):
            self._told = text

    def _is_due(self) -> bool:
        if self._clock() < self._due:
            return False
        self._due = self._clock() + BEAT
        return True
