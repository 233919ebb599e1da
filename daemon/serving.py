"""The serving process and its restarts; its ledgers add up over all of its lives."""

from __future__ import annotations

import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

from acclimate.configs.schema import DaemonConfig
from acclimate.daemon.child import Child
from acclimate.daemon.metrics import Metrics
from acclimate.errors import EngineError

Message = dict[str, Any]


class Serving:
    """Starts `runtime`, listens, and starts it again within the restart budget."""

    def __init__(
        self, config: DaemonConfig, state: Path, arguments: list[str], metrics: Metrics
    ) -> None:
        self._config, self._state, self._arguments = config, state, arguments
        self._metrics = metrics
        self._deaths: deque[float] = deque(maxlen=config.max_restarts)
        self._past: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()
        self._child: Child | None = None
        self.ended = False
        self.reason = ""
        self.exit_code: int | None = None

    def start(self, adapter: str, vocabulary: Path) -> None:
        """Start with `adapter` and these words; raises EngineError when the restart budget is
        spent."""
        now = time.monotonic()
        recent = [t for t in self._deaths if now - t < self._config.restart_window_s]
        if len(recent) >= self._config.max_restarts:
            raise EngineError(
                f"the runtime died {len(recent)} times in {self._config.restart_window_s:g} s; "
                f"see {self._state / 'logs' / 'runtime.log'}"
            )
        arguments = ["--state", str(self._state), "--bundle", adapter, *self._arguments]
        arguments += ["--vocabulary", str(vocabulary)]
        self._child = Child("runtime", arguments, self._state / "logs" / "runtime.log")

    def events(self) -> list[Message]:
        """What it said; the books are kept on the way."""
        if self._child is None:
            return []
        said = self._child.events()
        for event in said:
            if event["event"] == "stats":
                self._book(event)
            elif event["event"] == "done":
                self._book(event["ledger"])
                self.ended, self.reason = True, event["reason"]
            elif event.get("fatal"):
                self.reason = event["message"]
        return said

    def died(self) -> bool:
        """Has it gone without saying `done`? What was in flight is booked as lost in the crash."""
        if self.ended or self._child is None or (code := self._child.exit_code) is None:
            return False
        self.exit_code, self._child = code, None
        self._deaths.append(time.monotonic())
        accounted = sum(self._now.values()) - self._now["captured"]
        self._now["runtime_died"] += self._now["captured"] - accounted
        self._past, self._now = self._past + self._now, Counter()
        return True

    def send(self, message: Message) -> None:
        """A command; unheard while it is not running."""
        if self._child is not None:
            self._child.send(message)

    def stop(self) -> None:
        """End it in order, so that its ledger balances."""
        if self._child is not None and not self.ended:
            self._child.stop(self._config.stop_timeout_s)
            self.events()
            self.died()
            self.reason = self.reason or "stopped"

    @property
    def ledger(self) -> Message:
        """captured, served, dropped by reason over all lives, and whether they balance."""
        total = self._past + self._now
        captured, served = total.pop("captured", 0), total.pop("served", 0)
        balanced = captured == served + sum(total.values())
        return {"captured": captured, "served": served, "dropped": dict(total),
                "balanced": balanced}  # fmt: skip

    def _book(self, totals: Message) -> None:
        drops = totals["dropped"]
        self._now = Counter(captured=totals["captured"], served=totals["served"], **drops)
        total = self._past + self._now
        for outcome, count in total.items():
            if outcome != "captured":
                self._metrics.frames.labels(outcome).inc(count - self._counted[outcome])
        self._counted = total
