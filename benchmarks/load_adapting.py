"""How much slower are frames while a round learns beside them?

A real daemon with its serving process looks at one camera. Rounds of the default training come by
turns with time alone: first without a limit, then in a second daemon with the governor on, its
limit (`adapt.max_latency_ms`) a little above what nine frames in ten took alone.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.configs.schema import Config
from acclimate.configs.source import SourceConfig
from acclimate.daemon.lifecycle import Lifecycle
from acclimate.daemon.main import run
from benchmarks.latency import quantiles
from benchmarks.load_cameras import street

ALONE_S = 20.0
ROOM = 1.1  # the governor's limit over the ninetieth percentile alone
ALONE, ADAPTING = "alone", "adapting"


class Turns:
    """Starts rounds by turns with time alone; `windows` keeps the frames' ms of each turn apart."""

    def __init__(self, rounds: int) -> None:
        self.windows: list[tuple[str, list[float]]] = []
        self.stop = threading.Event()
        self._left, self._since = rounds, None  # type: int, float | None
        self._seen: dict[str, Any] = {}

    def __call__(self, life: Lifecycle) -> None:
        """Looked in at every tick."""
        busy = life.rounds.now is not None
        if life.stream.last and life.stream.last is not self._seen:
            self._seen = life.stream.last
            self._note(ADAPTING if busy else ALONE, self._seen["latency_ms"])
        if busy or life.changing or not self._ready(life):
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > ALONE_S:
            self._next(life)

    def _ready(self, life: Lifecycle) -> bool:
        buffered = self._seen.get("buffer", {}).get("entries", 0)
        return bool(buffered >= life.config.adapt.min_frames)

    def _next(self, life: Lifecycle) -> None:
        if self._left:
            self._left -= 1
            life.rounds.start("a benchmark")
        else:
            self.stop.set()

    def _note(self, kind: str, latencies: list[float]) -> None:
        if not self.windows or self.windows[-1][0] != kind:
            self.windows.append((kind, []))
        self.windows[-1][1].extend(latencies)

    def all(self, kind: str) -> list[float]:
        """Every frame's ms of one kind."""
        return [ms for name, window in self.windows for ms in window if name == kind]


def play(limit_ms: float, rounds: int, fps: float, threads: int) -> dict[str, Any]:
    """One daemon; what its frames took alone and beside rounds, and what became of the rounds."""
    turns, ended, events = Turns(rounds), list[dict[str, Any]](), Counter[str]()

    def listen(event: dict[str, Any]) -> None:
        events[event["event"]] += 1
        if event["event"] == "round_ended":
            ended.append({name: event[name] for name in ("verdict", "seconds")})

    with street(1, fps) as watched, tempfile.TemporaryDirectory() as scratch:
        config = Config(source=SourceConfig(url=watched.url(0)))
        config = replace(
            config, serving=replace(config.serving, threads=threads),
            drift=replace(config.drift, threshold=1e6),  # no rounds but ours
            adapt=replace(config.adapt, max_latency_ms=limit_ms, deadline_s=120.0),
            daemon=replace(config.daemon, http_port=0),
        )  # fmt: skip
        last = run(config, Path(scratch) / "state", listener=listen, hook=turns, stop=turns.stop)
    alone, beside = (quantiles(turns.all(kind)) for kind in (ALONE, ADAPTING))
    return {
        "limit_ms": limit_ms, ALONE: alone, ADAPTING: beside,
        "p99_ratio": round(beside["p99"] / alone["p99"], 3),
        "p50_ratio": round(beside["p50"] / alone["p50"], 3),
        "p99_alone_by_turns": [quantiles(w)["p99"] for k, w in turns.windows if k == ALONE],
        "p99_adapting_by_turns": [quantiles(w)["p99"] for k, w in turns.windows if k == ADAPTING],
        "rounds": ended, "held": events["round_held"], "ledger": last["frames"],
        "samples_ms": turns.windows,
    }  # fmt: skip


def adapting(rounds: int, fps: float, threads: int = 1) -> dict[str, Any]:
    """Without and with the governor."""
    free = play(0.0, rounds, fps, threads)
    alone = [ms for kind, window in free["samples_ms"] for ms in window if kind == ALONE]
    limit = round(ROOM * float(np.percentile(alone, 90)), 1)
    governed = play(limit, rounds, fps, threads)
    return {"fps": fps, "threads": threads, "without": free, "governor": governed}
