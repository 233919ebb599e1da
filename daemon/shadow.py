"""A candidate beside what serves: the window before its swap, and what came of it."""

from __future__ import annotations

from typing import Any

from acclimate.daemon.events import EventLog
from acclimate.daemon.metrics import Metrics

Message = dict[str, Any]


class Shadow:
    """`now`: the candidate whose window is open; `last`: how the newest one went ({} before)."""

    def __init__(self, events: EventLog, metrics: Metrics) -> None:
        self.now: str | None = None
        self.last: Message = {}
        self._events, self._metrics = events, metrics
        self._again: str | None = None
        self._died_with = ""

    def open(self, name: str, beside: str) -> None:
        """A window begins."""
        self.now = name
        self._events.write("shadow_started", id=name, beside=beside)

    def heed(self, report: Message) -> None:
        """The runtime's report; refused or not, it is told with all of its numbers."""
        told = {key: value for key, value in report.items() if key != "event"}
        told["verdict"] = verdict_of(report)
        self.now, self.last = None, told
        self._metrics.shadow(told["verdict"], report["regions"], report["classes"])
        self._events.write("shadow_ended", **told)

    def close(self, name: str) -> bool:
        """No report will come any more; was `name` refused for no fault of its own?"""
        self.now = None
        return self.last.get("id") == name and bool(self.last.get("untried"))

    def died(self) -> str | None:
        """The runtime died with a window open: once is bad luck, the window is opened again (see
        `again`); an adapter with which it dies twice is named."""
        name, self.now = self.now, None
        if name is None or name != self._died_with:
            self._again, self._died_with = name, name or ""
            return None
        return name

    def again(self) -> str | None:
        """The candidate that a fresh runtime should try once more."""
        name, self._again = self._again, None
        return name


def verdict_of(report: Message) -> str:
    """passed, refused, or unfinished: too little was seen."""
    if report["untried"]:
        return "unfinished"
    return "refused" if report["reasons"] else "passed"
