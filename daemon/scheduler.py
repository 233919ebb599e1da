"""Why now? The one place that decides to start a round, and keeps the one that runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from acclimate.configs.schema import Config
from acclimate.daemon.events import EventLog
from acclimate.daemon.governor import Governor
from acclimate.daemon.metrics import Metrics
from acclimate.daemon.registry import Registry
from acclimate.daemon.rounds import Outcome, RoundProcess
from acclimate.daemon.stream import Stream
from acclimate.daemon.trigger import Budget

NEW_FRAMES = 6


@dataclass(frozen=True)
class Situation:
    """`busy`: a round is under way; `drift` None while it is unknown; `since_round` in seconds;
    `new_frames` admitted to the buffer since the last round began; `budget` in rounds."""

    busy: bool
    drift: float | None
    alarm: bool
    blind: bool
    parked: bool
    since_round: float
    buffered: int
    new_frames: int
    budget: float
    held: str | None = None  # by hand: paused, or an adapter is pinned


def forbids(now: Situation, config: Config) -> str | None:
    """Why no round may start, whoever asks for one; None for nothing."""
    adapt = config.adapt
    held = {
        str(now.held): now.held is not None,
        "adaptation is off": not adapt.enabled,
        "a round is under way": now.busy,
        "blinded": now.blind,
        f"{now.buffered} of {adapt.min_frames} frames": now.buffered < adapt.min_frames,
    }
    return next((reason for reason, true in held.items() if true), None)


def waits(now: Situation, config: Config) -> str | None:
    """What an alarm waits for before it may start a round; None for nothing."""
    held = {
        "parked": now.parked,
        "cool-down": now.since_round < config.adapt.cooldown_s,
        "new frames": now.new_frames < NEW_FRAMES,
        "budget": now.budget < 1,
    }
    return forbids(now, config) or next((reason for reason, true in held.items() if true), None)


def why_now(now: Situation, config: Config) -> str | None:
    """The reason for a round, or None."""
    if now.drift is None or not now.alarm or waits(now, config) is not None:
        return None
    return f"drift {now.drift:.1f}, the alarm is at {config.drift.threshold:g}"


class Rounds:
    """One at a time; `now` is the one that runs, `config` what the next ones go by."""

    def __init__(
        self, config: Config, registry: Registry, stream: Stream, events: EventLog,
        metrics: Metrics,
    ) -> None:  # fmt: skip
        self.now: RoundProcess | None = None
        self.config, self._registry, self._stream = config, registry, stream
        self._events, self._metrics = events, metrics
        self._ended = -float("inf")
        self._admitted = 0  # to the buffer, when the last one began
        self._governor, self._heeded = Governor(0.0), stream.last
        self._budget = Budget(config.drift.rounds_per_hour, config.drift.burst)

    def reconfigure(self, config: Config) -> None:
        """What the next rounds go by; the budget's rest is kept."""
        self.config = config
        self._budget.change(config.drift.rounds_per_hour, config.drift.burst)

    def start_if_needed(self) -> None:
        """Begin one if there is a reason; not to be asked during a swap or a probation."""
        if (reason := why_now(self.situation, self.config)) is not None:
            self._budget.spend()
            self.start(reason)

    @property
    def situation(self) -> Situation:
        """What is known now."""
        stream, buffer = self._stream, self._stream.last.get("buffer", {})
        state = self._registry.state
        held = None if state.pinned is None else f"{state.pinned} is pinned"
        return Situation(
            self.now is not None, stream.level.whole if stream.level else None, stream.alarm,
            stream.blind, stream.parked, time.monotonic() - self._ended,
            buffer.get("entries", 0), buffer.get("admitted", 0) - self._admitted,
            self._budget.left, "paused" if state.paused is not None else held,
        )  # fmt: skip

    @property
    def waiting(self) -> str | None:
        """What an alarm waits for; None without one."""
        return waits(self.situation, self.config) if self._stream.alarm else None

    @property
    def forbidden(self) -> str | None:
        """Why not even a round asked for by hand may start; None for nothing."""
        return forbids(self.situation, self.config)

    def start(
        self, reason: str, mode: Literal["train", "validate"] = "train", adapter: Path | None = None
    ) -> str:
        """Begin a round on the accepted adapter, or judge a given one ("validate"); its id."""
        if gone := self._registry.prune():
            self._events.write("forgotten", ids=gone)
        self.now = RoundProcess(self.config, self._registry, reason, mode, adapter)
        self._governor = Governor(self.config.adapt.max_latency_ms)
        self._admitted = self._stream.last.get("buffer", {}).get("admitted", 0)
        self._events.write(
            "round_started", id=self.now.id, parent=self.now.parent, reason=reason, mode=mode
        )
        return self.now.id

    def watch(self) -> str | None:
        """The candidate of a round that has just ended, taken into the registry."""
        if self.now is None or (outcome := self.now.poll()) is None:
            self._govern()
            return None
        ended, self.now = self.now, None
        self.pause()
        self._metrics.round(outcome.verdict, outcome.seconds)
        if ended.mode == "train" and outcome.verdict in ("accepted", "refused", "failed"):
            self._registry.learn(outcome.learned)
        if outcome.candidate is not None:
            self._registry.adopt(ended.id, outcome.candidate)
        self._events.write("round_ended", id=ended.id, parent=ended.parent, **_story(outcome))
        return ended.id if outcome.candidate is not None else None

    def _govern(self) -> None:
        """Hold the one that runs while the newest report shows frames that take too long."""
        if self.now is None or self._stream.last is self._heeded:
            return
        self._heeded, before = self._stream.last, self._governor.holding
        holding = self._governor.heed(self._heeded.get("latency_ms", ()))
        self.now.hold(holding)
        if holding != before:
            told = {"latency_ms": self._governor.latency_ms, "limit_ms": self._governor.limit}
            if holding:
                self._events.write("round_held", id=self.now.id, **told)
            else:
                self._events.write("round_goes_on", id=self.now.id, **told)

    def cancel(self) -> None:
        """End the one that runs; its candidate must not be born."""
        if self.now is not None:
            self.now.child.kill()
            self._events.write("round_cancelled", id=self.now.id)
            self.now = None

    def pause(self) -> None:
        """The cool-down begins."""
        self._ended = time.monotonic()

    def serving_restarted(self) -> None:
        """It counts what it admits to the buffer from 0 again."""
        self._admitted = 0


def _story(outcome: Outcome) -> dict[str, Any]:
    """An Outcome as event details."""
    return {
        "verdict": outcome.verdict, "reasons": list(outcome.reasons),
        "seconds": round(outcome.seconds, 2), "numbers": outcome.numbers,
        "card": outcome.card, "goes_on": outcome.learned is not None,
    }  # fmt: skip
