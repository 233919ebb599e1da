"""One adaptation round as the daemon sees it: a process with a deadline and a memory cap."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from acclimate.configs.schema import Config, to_dict
from acclimate.daemon.child import Child
from acclimate.daemon.registry import BASE, Registry

NO_DATA = 75


@dataclass(frozen=True)
class Outcome:
    """`verdict`: accepted, refused, instead (nothing was learned: something that is free is better
    than what serves), or why there is none: no_data, deadline, memory, failed. `card`: what
    `candidate` earned, and over what. `learned`: sound but not better, where the next round
    starts."""

    verdict: str
    reasons: tuple[str, ...]
    seconds: float
    numbers: dict[str, float] = field(default_factory=dict)
    candidate: Path | None = None
    card: dict[str, Any] = field(default_factory=dict)
    learned: Path | None = None


class RoundProcess:
    """Starts `adapt` on the accepted adapter; `poll` until it gives an Outcome."""

    def __init__(
        self, config: Config, registry: Registry, reason: str,
        mode: Literal["train", "validate"] = "train", adapter: Path | None = None,
    ) -> None:  # fmt: skip
        self.sequence, self.id = registry.next_name()
        self.parent, self.reason, self.mode = registry.state.active, reason, mode
        self.settings, self.step = config.adapt, 0
        self._started = time.monotonic()
        self._held, self._held_since = 0.0, None  # type: float, float | None
        self._verdict: dict[str, Any] | None = None
        self._trouble = ""
        self._out = registry.folder / "candidates" / self.id
        shutil.rmtree(self._out.parent, ignore_errors=True)
        self._out.parent.mkdir(parents=True)
        task = {
            "id": self.id, "sequence": self.sequence, "mode": mode,
            "seed": config.adapt.seed + self.sequence,
            "adapter_dir": str(adapter) if adapter else None, "config": to_dict(config),
            "parent_dir": str(registry.folder_of(self.parent)),
            "start": str(registry.learned) if registry.learned.is_dir() else None,
            "engine_dir": str(registry.folder / "engine"),
            "buffer_dir": str(registry.folder / "buffer"), "out_dir": str(self._out),
            "good": [str(registry.folder_of(name)) for name in _good(registry)],
        }  # fmt: skip
        path = self._out.parent / "round.json"
        path.write_text(json.dumps(task, indent=1))
        log = registry.folder / "logs" / "adapt.log"
        self.child = Child("adapt", ["--round", str(path)], log, config.adapt)

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self._started

    @property
    def held(self) -> float:
        """How many seconds of that it stood still."""
        since = self._held_since
        return self._held + (0.0 if since is None else time.monotonic() - since)

    def hold(self, still: bool) -> None:
        """Let it stand still, or go on."""
        if still == (self._held_since is not None):
            return
        if still:
            self._held_since = time.monotonic()
            self.child.hold()
        else:
            self._held, self._held_since = self.held, None
            self.child.let_go()

    def poll(self) -> Outcome | None:
        """Listen to it and hold it to its limits; None while it works."""
        code = self.child.exit_code
        for event in self.child.events():
            self._hear(event)
        if code is not None:
            return self._ended(code)
        limit = self.settings.deadline_s
        if self.seconds - min(self.held, limit) > limit:  # held for longer, it is out of date
            still = f", {self.held:.0f} s of it held for serving" if self.held else ""
            return self._cut("deadline", f"took longer than adapt.deadline_s, {limit:g} s{still}")
        if (used := self.child.memory_mb()) > self.settings.memory_mb:
            return self._cut(
                "memory", f"used {used:.0f} MiB, {self.settings.memory_mb:g} are allowed"
            )
        return None

    def _hear(self, event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            self.step = event["step"]
        elif event["event"] == "verdict":
            self._verdict = event
        elif event["event"] == "error":
            self._trouble = event["message"]

    def _ended(self, code: int) -> Outcome:
        if code == 0 and self._verdict is not None:
            verdict, told = self._verdict, tuple(self._verdict["reasons"])
            word = "accepted" if verdict["accepted"] else "refused"
            word = "instead" if verdict.get("instead") else word
            where, card = (self._out, verdict.get("card", {})) if word != "refused" else (None, {})
            learned = Path(verdict["learned"]) if verdict.get("learned") else None
            return Outcome(word, told, self.seconds, verdict["numbers"], where, card, learned)
        if code == NO_DATA:
            return Outcome("no_data", (self._trouble,), self.seconds)
        if self.child.starved:
            why = (
                f"memory ran out, {self.settings.memory_mb:g} MiB are allowed: the kernel ended it"
            )
            return Outcome("memory", (why,), self.seconds)
        died = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        why = self._trouble or f"{died}; see {self.child.log}"
        return Outcome("failed", (why,), self.seconds)

    def _cut(self, verdict: str, why: str) -> Outcome:
        self.child.kill()
        return Outcome(verdict, (why,), self.seconds)


def _good(registry: Registry) -> list[str]:
    """Every adapter that could serve, oldest first, the base before them."""
    names = dict.fromkeys([BASE, *registry.state.good])
    return [name for name in names if registry.may_serve(name)]
