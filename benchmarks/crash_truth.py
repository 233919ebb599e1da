"""What must be true of a state folder after a crash, and of the daemon that starts on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

from acclimate.configs.schema import Config, parse_config
from acclimate.configs.vocabulary import load_served
from acclimate.daemon import words as words_of
from acclimate.daemon.events import EventLog, append, read
from acclimate.daemon.lifecycle import Lifecycle
from acclimate.daemon.metrics import Metrics
from acclimate.daemon.registry import BASE, Registry
from acclimate.daemon.state import State
from acclimate.errors import CorruptBundle, SwapRefused
from acclimate.runtime.bundle import verify
from acclimate.runtime.job import place_of
from benchmarks.crash_story import CONFIGURED, Told

CONFIG: Config = parse_config({"model": {"vocabulary": CONFIGURED}})


class Still:
    """A serving process that is told what to begin with, and does nothing."""

    def __init__(self) -> None:
        self.adapter, self.vocabulary = "", Path()
        self.ledger: dict[str, Any] = {"dropped": {}}

    def start(self, adapter: str, vocabulary: Path) -> None:
        """What a fresh one begins with."""
        self.adapter, self.vocabulary = adapter, vocabulary


def violations(state: Path, told: Told) -> list[str]:
    """What is wrong with a folder that a crash left; the next life is begun on it."""
    try:
        registry = Registry(state)
    except CorruptBundle as error:
        return [f"the truth is unreadable: {error}"]
    found = _of_the_truth(registry.state, told)
    found += [f"half an adapter: {one}" for one in broken(registry)]
    found += _of_the_log(state / "events.jsonl", told)
    return found + _of_the_next_life(state, told)


def _of_the_truth(state: State, told: Told) -> list[str]:
    found = []
    if state.active not in told.active:
        found.append(f"{state.active} is active, not one of {told.active}")
    if state.sequence < told.sequence:
        found.append(f"sequence {state.sequence} after {told.sequence}")
    if missing := set(told.quarantined) - state.quarantined.keys():
        found.append(f"no longer quarantined: {sorted(missing)}")
    if not missing and not set(state.good).isdisjoint(told.quarantined):
        found.append("a quarantined one is good")
    if (key := None if state.words is None else state.words["key"]) not in told.words:
        found.append(f"the words are {key}, not one of {told.words}")
    return found


def broken(registry: Registry) -> list[str]:
    """Adapters, copies and what was learned, if they look whole and are not."""
    folders = [registry.folder / "adapters" / name for name in registry.names()]
    copies = registry.folder.glob("words/*/*/manifest.json")
    folders += [path.parent for path in copies if path.parent.suffix != ".tmp"]
    folders += [registry.learned] if registry.learned.is_dir() else []
    found = []
    for folder in folders:
        try:
            verify(folder)
        except CorruptBundle as error:
            found.append(str(error))
    return found


def _of_the_log(path: Path, told: Told) -> list[str]:
    before = [row.get("n") for row in read(path)[0]]
    if missing := set(told.events) - set(before):
        return [f"events {sorted(missing)} are lost"]
    append(path, {"event": "note", "t": 0.0, "time": 0.0, "n": 0})
    rows, torn = read(path)
    if torn or [row["n"] for row in rows if "n" in row] != [*filter(None, before), 0]:
        return [f"the log cannot be read on: {torn}"]
    return []


def _no_torch(*_: object) -> None:
    raise SwapRefused("words that were embedded before are gone")


def _of_the_next_life(state: Path, told: Told) -> list[str]:
    """The daemon's own start: what would serve is whole, of the right words, and not condemned."""
    still: Any = Still()
    log = EventLog(state / "events.jsonl", lambda _: None)
    with mock.patch.object(words_of, "check_torch", _no_torch):
        life = Lifecycle(CONFIG, state, still, log, Metrics())
    life.start()
    found = []
    name, words = still.adapter, load_served(str(still.vocabulary))
    if words.key not in {load_served(CONFIGURED).key if key is None else key for key in told.words}:
        found.append("words set by hand are gone")
    if name in {*told.quarantined, *life.registry.state.quarantined}:
        found.append(f"{name} serves, which is quarantined")
    if name not in {BASE, *life.registry.state.good}:
        found.append(f"{name} serves, which never passed")
    try:
        made = verify(place_of(state, name, words).bundle)
        if made["vocabulary_digest"] != words.digest:
            found.append(f"{name} serves with other words than its own")
    except CorruptBundle as error:
        found.append(f"{name} serves: {error}")
    number, fresh = life.registry.next_name()
    if number <= told.sequence or fresh in life.registry.names():
        found.append(f"{fresh} was there before")
    return found + [f"a leftover: {path}" for path in (state / "adapters").glob("*.tmp")]
