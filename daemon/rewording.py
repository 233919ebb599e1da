"""Other words for what serves: check, embed aside, swap between two frames, flip the truth, tell.

Serving goes on all the while. Until the runtime serves the new words and the truth says so, every
failure leaves the old ones; a daemon that dies at any moment starts again with one or the other.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import Any

from acclimate.configs.schema import Config
from acclimate.configs.vocabulary import Vocabulary, check_served, load_served, parse_vocabulary
from acclimate.daemon.books import served
from acclimate.daemon.child import Child
from acclimate.daemon.events import EventLog
from acclimate.daemon.metrics import Metrics
from acclimate.daemon.registry import BASE, Registry
from acclimate.daemon.waiting import Meanwhile, nothing
from acclimate.daemon.words import (
    arguments,
    by_hand,
    check_engine,
    check_torch,
    embed,
    file_of,
    keep,
    missing,
    needed,
    read_kept,
    sweep,
)
from acclimate.errors import ConfigError, SwapRefused

REMEMBERED = 8
DEADLINE = 1800.0  # many words for a large text tower take minutes on a small machine
Drops = dict[str, int]


@dataclass
class Change:
    """One wish for other words under way; `drops` by reason when it began."""

    asker: str
    words: Vocabulary
    drops: Drops
    started: float = field(default_factory=time.monotonic)
    child: Child | None = None
    actor: str = ""
    lacking: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)


class Rewording:
    """`served` are the words of the truth, `now` the change under way; `answers` maps the newest
    wishes to {state, message}, state being working, done or refused."""

    def __init__(
        self, config: Config, registry: Registry, events: EventLog, metrics: Metrics,
        meanwhile: Meanwhile = nothing,
    ) -> None:  # fmt: skip
        self._config, self._registry = config, registry
        self._events, self._metrics = events, metrics
        self.configured = load_served(config.model.vocabulary)
        self.served = self._first_words(meanwhile)
        self.now: Change | None = None
        self.answers: dict[str, dict[str, str]] = {}
        self.file = keep(registry.folder, self.served)
        sweep(registry.folder, self.served)
        self._count()

    # ---- at the start

    def _first_words(self, meanwhile: Meanwhile) -> Vocabulary:
        """Those set by hand, unless the configuration changed since or they cannot serve."""
        kept = self._registry.state.words
        if kept is None:
            return self.configured
        words = read_kept(self._registry.folder, kept["key"])
        why_not = self._why_not(kept, words, meanwhile)
        if words is not None and why_not is None:
            self._events.write("vocabulary_kept", size=words.size)
            return words
        if kept["key"] != self.configured.key:
            self._events.write("vocabulary_dropped", reason=why_not, size=self.configured.size)
            active = self._registry.state.active
            served(self._events, "start", active, active, f"the configuration's words: {why_not}")
        with contextlib.suppress(OSError):  # memory is the truth until the disk has room
            self._registry.reword(None)
        return self.configured

    def _why_not(
        self, kept: dict[str, str], words: Vocabulary | None, meanwhile: Meanwhile
    ) -> str | None:
        """The reason why words set by hand cannot serve on."""
        if kept["over"] != self.configured.key:
            return "the configuration names other words than when they were set"
        if words is None:
            return f"{file_of(self._registry.folder, kept['key'])} is unreadable"
        try:
            check_engine(self._registry.folder, words)
            embed(
                self._registry, words, [BASE], meanwhile
            )  # it is another one after a change of weights
        except SwapRefused as error:
            return str(error)
        return None

    def reconfigure(self, config: Config) -> None:
        """Other settings with the same words."""
        self._config = config

    # ---- a change

    def begin(self, wish: dict[str, Any], drops: Drops) -> bool:
        """Take up {"id", "vocabulary": content of a file}; False for one that is answered at once.

        The answer, and the reason of a refusal, are in `answers`.
        """
        asker = str(wish.get("id"))
        try:
            if self.now is not None:
                raise SwapRefused("another change of words is under way; ask again when it is done")
            words = parse_vocabulary(wish.get("vocabulary"))
            check_served(words, "the vocabulary")
            if words.key == self.served.key:
                self._answer(asker, "done", f"looking for these {words.size} already")
                return False
            check_engine(self._registry.folder, words)
            lacking = missing(self._registry, needed(self._registry), words)
            check_torch(self._registry.folder, lacking)
            keep(self._registry.folder, words)
        except (ConfigError, SwapRefused, OSError) as error:
            self._refused(asker, str(error))
            return False
        self.now = Change(asker, words, drops, actor=str(wish.get("actor", "")))
        self._answer(asker, "working", f"asked for {words.size}")
        return True

    def watch(self) -> bool:
        """Go on with the embedding; True once all that may have to serve has the new words."""
        change = self.now
        if change is None:
            return False
        if change.child is not None:
            self._listen(change, change.child)
            return False
        lacking = missing(self._registry, needed(self._registry), change.words)
        if lacking:
            self._embed(change, lacking)
        return not lacking

    def _embed(self, change: Change, lacking: list[str]) -> None:
        if lacking == change.lacking:
            self.refuse(f"the words process left nothing for {', '.join(lacking)}")
            return
        change.lacking, folder = lacking, self._registry.folder
        self._answer(change.asker, "working", f"embedding {change.words.size}")
        log = folder / "logs" / "words.log"
        task = arguments(folder, change.words, lacking)
        change.child = Child("words", task, log, self._config.adapt)

    def _listen(self, change: Change, child: Child) -> None:
        """What the words process says, and how it ended; it is held to limits as a round is."""
        code = child.exit_code
        for event in child.events():
            if event["event"] == "progress":
                self._answer(change.asker, "working", event["message"])
            else:
                change.trouble.append(str(event.get("message")))
        if code is None and (used := child.memory_mb()) > self._config.adapt.memory_mb:
            self.refuse(
                f"embedding used {used:.0f} MiB, adapt.memory_mb allows "
                f"{self._config.adapt.memory_mb:g}"
            )
        elif code is None and time.monotonic() - change.started > DEADLINE:
            self.refuse(f"embedding took longer than {DEADLINE:g} s; see {child.log}")
        elif code is not None:
            change.child = None
            if code:
                died = f"the words process ended with code {code}; see {child.log}"
                if child.starved:
                    died = f"memory ran out, {self._config.adapt.memory_mb:g} MiB are allowed"
                self.refuse("\n".join(change.trouble) or died)

    def done(self, change: Change, drops: Drops, event: dict[str, Any]) -> None:
        """The runtime serves them and the truth says so."""
        self.now = None
        self._metrics.rewordings.labels("done").inc()
        self.served, self.file = change.words, file_of(self._registry.folder, change.words.key)
        self._count()
        self._answer(
            change.asker, "done",
            f"now looking for {change.words.size}, from frame {event['frame']} on; "
            f"gap {event['gap_ms']:.1f} ms, {lost(change.drops, drops)}",
        )  # fmt: skip

    def refuse(self, reason: str) -> None:
        """End the change, if one is under way; the old words go on."""
        change, self.now = self.now, None
        if change is not None:
            if change.child is not None:
                change.child.kill()
            self._refused(change.asker, reason)

    def _refused(self, asker: str, reason: str) -> None:
        self._answer(asker, "refused", reason)
        self._metrics.rewordings.labels("refused").inc()
        self._events.write("vocabulary_refused", reason=reason)

    def _count(self) -> None:
        self._metrics.words(len(self.served.classes), len(self.served.strings))

    def _answer(self, asker: str, state: str, message: str) -> None:
        newest = {**self.answers, asker: {"state": state, "message": message}}
        # replaced, not changed: another thread may be reading the old one
        self.answers = dict(list(newest.items())[-REMEMBERED:])

    # ---- what the others need to know

    def asked(self, reworded: bool) -> Vocabulary:
        """The words of a swap: those of the change under way, or those that serve."""
        return self.now.words if reworded and self.now is not None else self.served

    def entry(self, words: Vocabulary) -> dict[str, str] | None:
        """What the registry has to remember of them."""
        return by_hand(words, self.configured)

    def for_rounds(self) -> Config:
        """The configuration as rounds need it; labels are of the configured classes."""
        config = self._config
        gate, model = config.gate, config.model
        if self.served.key != self.configured.key:
            gate, model = replace(gate, labelled_dir=None), replace(model, source_dir=None)
        model = replace(model, vocabulary=str(self.file))
        return replace(config, model=model, gate=gate)


def lost(before: Drops, now: Drops) -> str:
    """The frames dropped in between, as words."""
    more = {why: count - before.get(why, 0) for why, count in now.items()}
    reasons = ", ".join(f"{count} {why}" for why, count in more.items() if count)
    return f"{sum(more.values())} frames lost" + (f" ({reasons})" if reasons else "")
