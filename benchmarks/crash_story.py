"""What a daemon writes in a life full of rounds, and what must be true of it after any crash.

Run as a program, it plays such lives on a folder until it is killed, and says what it promises:

    python -m benchmarks.crash_story DIR SEED
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from acclimate.configs.vocabulary import Vocabulary, load_served, parse_classes
from acclimate.daemon import registry as registry_module
from acclimate.daemon.events import EventLog, append
from acclimate.daemon.registry import BASE, Registry
from acclimate.daemon.words import by_hand, keep
from acclimate.runtime import bundle as bundle_module
from acclimate.runtime.bundle import Arrays, write_bundle
from acclimate.runtime.job import manifest, origin, words_folder
from benchmarks.crash_disk import seen

CONFIGURED = "world"
KEPT = 2
ACTIONS = ("good", "good", "bad", "rollback", "recall", "learn", "reword", "prune", "restart")
SCRIPT = ("good", "learn", "good", "reword", "bad", "good", "prune", "reword", "rollback",
          "restart", "good", "learn", "recall")  # fmt: skip
Noted = Callable[[dict[str, Any]], None]


@dataclass
class Told:
    """What was promised: one of `active` is what the truth names, one of `words` is served, numbers
    are above `sequence`, who is in `quarantined` never comes back, `events` can be read."""

    active: list[str] = field(default_factory=lambda: [BASE])
    words: list[str | None] = field(default_factory=lambda: [None])
    sequence: int = 0
    quarantined: list[str] = field(default_factory=list)
    events: list[int] = field(default_factory=list)


@dataclass
class Life:
    """One process with a state folder; `noted` hears every promise before it counts."""

    state: Path
    seed: int
    told: Told = field(default_factory=Told)
    noted: Noted = lambda _: None

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.words = {word.key: word for word in (load_served(CONFIGURED), other_words())}
        self.open()

    def open(self) -> None:
        """Begin, as after a restart."""
        self.registry = Registry(self.state)
        self.registry.sweep()
        self.log = EventLog(self.state / "events.jsonl", lambda _: None)

    def play(self, actions: tuple[str, ...]) -> None:
        """One after the other; each ends with an event."""
        for action in actions:
            getattr(self, action)()
            self.event()

    def play_on(self) -> None:
        """Until it is killed."""
        while True:
            self.play((self.chance.choice(ACTIONS),))

    # ---- what happens in a life

    def good(self) -> None:
        """A round whose candidate serves and passes."""
        name = self._candidate()
        with self._changing("active", name):
            self.registry.activate(name)
        self.registry.trust(name)

    def bad(self) -> None:
        """One that serves for a while and is taken out."""
        name = self._candidate()
        with self._changing("active", name):
            self.registry.activate(name)
        self._condemn(name)

    def rollback(self) -> None:
        """By hand, of what serves."""
        if self.registry.state.active != BASE:
            self._condemn(self.registry.state.active)

    def recall(self) -> None:
        """Back to a good one of earlier."""
        back = self.registry.way_back()
        with self._changing("active", back):
            self.registry.activate(back)

    def learn(self) -> None:
        """A round that ends sound but not better."""
        name = self._number()
        bundle(self.state / "candidates" / name, name, self.registry.state.sequence, self._digest)
        self.registry.learn(self.state / "candidates" / name)

    def reword(self) -> None:
        """Other words, or those of the configuration again."""
        registry, configured = self.registry, load_served(CONFIGURED)
        wanted = configured if registry.state.words else other_words()
        keep(self.state, wanted)
        for name in dict.fromkeys([BASE, registry.state.active]):
            if not registry.place(name, wanted.digest).ready:
                copy(self.state, name, wanted)
        entry = by_hand(wanted, configured)
        with self._changing("words", None if entry is None else wanted.key):
            registry.reword(entry)

    def prune(self) -> None:
        """The oldest leave."""
        self.registry.prune()

    def restart(self) -> None:
        """Stopped and started."""
        self.open()

    def event(self) -> None:
        """A line in the log."""
        number = 1 + max(self.told.events, default=0)
        self.log.write("note", n=number)
        self.told.events.append(number)
        self._tell()

    # ---- their parts

    @property
    def _digest(self) -> str | None:
        return self.registry.words_digest

    def _number(self) -> str:
        sequence, name = self.registry.next_name()
        self.told.sequence = sequence
        self._tell()
        return name

    def _candidate(self) -> str:
        name = self._number()
        folder = self.state / "candidates" / name
        bundle(folder, name, self.registry.state.sequence, self._digest)
        self.registry.adopt(name, folder)
        return name

    def _condemn(self, name: str) -> None:
        self.registry.quarantine(name, "it went wrong")
        if not self.registry.unsaved:
            self.told.quarantined.append(name)
            self._tell()
        back = self.registry.way_back()
        self.registry.forget_after(back)
        with self._changing("active", back):
            self.registry.activate(back)

    @contextlib.contextmanager
    def _changing(self, what: str, to: str | None) -> Iterator[None]:
        """Old or new while it lasts, new afterwards."""
        setattr(self.told, what, [*getattr(self.told, what), to])
        self._tell()
        yield
        setattr(self.told, what, [to])
        self.told.sequence = self.registry.state.sequence
        self._tell()

    def _tell(self) -> None:
        self.noted(vars(self.told))


@dataclass
class Stubborn(Life):
    """Goes on where the disk refuses, as the daemon does: memory is the truth until it is saved."""

    def play(self, actions: tuple[str, ...]) -> None:
        """What an action had still to do when it was refused is left."""
        for action in actions:
            with contextlib.suppress(OSError):
                getattr(self, action)()
            with contextlib.suppress(OSError):
                self.registry.save()
            self._settle()
            self.event()

    def event(self) -> None:
        """Promised only if the log took it."""
        number = 1 + max(self.told.events, default=0)
        with contextlib.suppress(OSError):
            append(self.state / "events.jsonl", {"event": "note", "t": 0, "time": 0, "n": number})
            self.told.events.append(number)

    def _settle(self) -> None:
        state, told = self.registry.state, self.told
        if not self.registry.unsaved:
            told.active, told.sequence = [state.active], state.sequence
            told.words = [None if state.words is None else state.words["key"]]
            told.quarantined = list(state.quarantined)


def other_words() -> Vocabulary:
    """Not those of the configuration."""
    return parse_classes("road,car|van,sky")


def bundle(folder: Path, name: str, sequence: int, vocabulary: str | None, **more: Any) -> None:
    """A small one, whole, as a round leaves it."""
    inputs: Arrays = {
        "text": np.full((2, 2), sequence, np.float32), "string_to_class": np.eye(2, 2),
    }  # fmt: skip
    made = {
        "id": name, "sequence": sequence, "base_digest": "b", "vocabulary_digest": vocabulary,
        "condition": {"mean": [0.0], "spread": 1.0}, **more,
    }  # fmt: skip
    frames, labels = np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 2), np.uint8)
    write_bundle(folder, made, inputs, frames, labels)


def copy(state: Path, name: str, words: Vocabulary) -> None:
    """An adapter with other words, as the process `words` leaves it."""
    own = manifest(state / "adapters" / name)
    if own is None:
        raise FileNotFoundError(f"{name} has no manifest")
    folder = words_folder(state, words.digest) / name
    bundle(folder, name, own["sequence"], words.digest, made_from=origin(own))


def first_state(state: Path) -> Path:
    """A folder as `acclimate export` leaves it, with nothing but the base."""
    bundle(state / "adapters" / BASE, BASE, 0, load_served(CONFIGURED).digest)
    return state


@contextlib.contextmanager
def few_kept() -> Iterator[None]:
    """Lives are short: two adapters of a kind are many. And every write can be seen, and nobody
    waits for the real disk: what it would have is known."""
    with (
        mock.patch.object(os, "fsync", lambda _: None),
        mock.patch.object(registry_module, "KEPT", KEPT),
        mock.patch.object(bundle_module, "save_file", seen),
    ):
        yield


def main() -> None:
    """Play until killed; a line of promises on stdout for each change of them."""
    state, seed = Path(sys.argv[1]), int(sys.argv[2])
    told = Told(**json.loads(sys.stdin.readline()))

    def say(promises: dict[str, Any]) -> None:
        print(json.dumps(promises), flush=True)

    with few_kept():
        life = Life(state, seed, told, say)
        say(vars(told))
        life.play_on()


if __name__ == "__main__":
    main()
