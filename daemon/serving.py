"""The serving process and its restarts; its ledgers add up over all of its lives."""

from __future__ import annotations

import signal
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

from acclimate.configs.schema import DaemonConfig
from acclimate.daemon.child import Child
from acclimate.daemon.metrics import Metrics
from acclimate.daemon.processes import restarts
from acclimate.daemon.standby import FIRST_WORD_LIMIT, Beginning, Standby
from acclimate.errors import EngineError

KILLED = (-signal.SIGKILL, -signal.SIGTERM)  # by somebody else
Message = dict[str, Any]


class Serving:
    """Starts `runtime`, listens, and starts it again within the restart budget. `standby`: another
    one that loads meanwhile."""

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
        self.standby: Standby | None = None
        self._heard: float | None = None  # its last report; None before `ready` and after its end
        self._begun: float | None = None  # when it was started; None after `ready` and its end
        self._explained = False  # has this life said why it ends?
        self.stillborn = 0  # deaths in a row of its own, before a frame was told of, without a word
        self.ended = False
        self.reason = ""
        self.exit_code: int | None = None

    def start(self, adapter: str, vocabulary: Path) -> None:
        """Start with `adapter` and these words, and nothing stands by any more; raises EngineError
        when the restart budget is spent."""
        self.dismiss()
        now = time.monotonic()
        recent = [t for t in self._deaths if now - t < self._config.restart_window_s]
        if recent and len(recent) >= restarts("runtime", self._config):
            raise EngineError(
                f"the runtime died {len(recent)} times in {self._config.restart_window_s:g} s; "
                f"see {self._state / 'logs' / 'runtime.log'}"
            )
        self._begin(self._runtime((adapter, vocabulary)))

    def stand_by(self, beginning: Beginning, config: Path) -> None:
        """Load another one that begins with these, by the configuration in `config`, in place of
        one that stood by; what serves goes on."""
        self.dismiss()
        child = self._runtime(beginning, "--config", str(config), "--standby")
        self.standby = Standby(child, beginning)

    def take_over(self) -> None:
        """Let the one that stands by serve; the old one has retired."""
        assert self.standby is not None
        self._begin(self.standby.go())
        self.standby = None

    def dismiss(self) -> None:
        """End the one that stands by, if there is one."""
        if self.standby is not None:
            self.standby.end()
            self.standby = None

    def _runtime(self, beginning: Beginning, *more: str) -> Child:
        """`more` comes last and counts."""
        adapter, vocabulary = beginning
        arguments = ["--state", str(self._state), "--bundle", adapter, *self._arguments]
        arguments += ["--vocabulary", str(vocabulary), *more]
        return Child("runtime", arguments, self._state / "logs" / "runtime.log")

    def _begin(self, child: Child) -> None:
        self._child, self._begun, self._explained = child, time.monotonic(), False

    def events(self) -> list[Message]:
        """What it said; the books are kept on the way."""
        if self._child is None:
            return []
        said = self._hear(self._child)
        now = time.monotonic()
        if self._heard is not None and now - self._heard > self._config.hang_timeout_s:
            limit = f"daemon.hang_timeout_s is {self._config.hang_timeout_s:g}"
            said += self._end_hung(f"no report for {now - self._heard:.0f} s ({limit})")
        elif self._begun is not None and now - self._begun > FIRST_WORD_LIMIT:
            said += self._end_hung(f"not ready within {FIRST_WORD_LIMIT:g} s")
        return said

    def _hear(self, child: Child) -> list[Message]:
        said = child.events()
        for event in said:
            if event["event"] == "ready":
                self._heard, self._begun = time.monotonic(), None
            elif event["event"] == "stats":
                self._heard = time.monotonic()
                self._book(event)
            elif event["event"] == "done":
                self._heard = None
                self._book(event["ledger"])
                self.ended, self.reason = True, event["reason"]
            elif event.get("fatal"):
                self.reason, self._explained = event["message"], True
        return said

    def _end_hung(self, why: str) -> list[Message]:
        """It reports twice a second, frames or not: one that fell silent hangs, in a call to the
        GPU or to a driver. A fresh one takes over within the restart budget."""
        assert self._child is not None
        self._child.kill()
        told = {"event": "error", "message": f"{why}: it hangs and was killed"}
        said = [*self._hear(self._child), told]
        self._heard = self._begun = None
        return said

    def died(self) -> bool:
        """Has it gone without saying `done`? What was in flight is booked as lost in the crash."""
        if self.ended or self._child is None or (code := self._child.exit_code) is None:
            return False
        self.exit_code, self._child, self._heard, self._begun = code, None, None, None
        self._deaths.append(time.monotonic())
        silent = code not in KILLED and not (self._explained or self._now["served"])
        self.stillborn = self.stillborn + 1 if silent else 0
        accounted = sum(self._now.values()) - self._now["captured"]
        self._now["runtime_died"] += self._now["captured"] - accounted
        self._past, self._now = self._past + self._now, Counter()
        return True

    @property
    def pid(self) -> int | None:
        """Of the process that serves; None while there is none."""
        return None if self._child is None else self._child.pid

    def send(self, message: Message) -> None:
        """A command; unheard while it is not running."""
        if self._child is not None:
            self._child.send(message)

    def stop(self) -> list[Message]:
        """End it in order, so that its ledger balances; its last words."""
        if self._child is None:
            return []
        self._heard = self._begun = None
        self._child.stop(self._config.stop_timeout_s)
        said = self.events()
        self.died()
        self.reason = self.reason or "stopped"
        return said

    def retire(self) -> list[Message]:
        """End this life in order, for another that `start` begins; its last words."""
        said = self.stop()
        self._past, self._now = self._past + self._now, Counter()
        self._child, self.ended, self.reason = None, False, ""
        return said

    def forgive(self) -> str:
        """The last death does not count; why it died."""
        if self._deaths:
            self._deaths.pop()
        why, self.reason = self.reason or f"exit code {self.exit_code}", ""
        return why

    def reconfigure(self, config: DaemonConfig) -> None:
        """Go by another stop deadline and restart budget."""
        self._config, self._deaths = config, deque(self._deaths, maxlen=config.max_restarts)

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
