"""Whether `state.json` can be true of what is on disk, and a new one where it cannot.

A new truth is built of what is left of the old, of the adapters on disk and of the event log. Who
was ever quarantined stays so. What was active goes on if nothing speaks against it; else the way
back serves, in the end the base. Its sequence number is above all that were ever given.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from acclimate.daemon.events import Event, older, read
from acclimate.daemon.registry import BASE, Registry
from acclimate.daemon.state import State
from acclimate.daemon.truth import is_name
from acclimate.errors import CorruptBundle
from acclimate.runtime.bundle import verify
from acclimate.runtime.durable import make_folder, write_atomic
from acclimate.runtime.job import manifest
from acclimate.runtime.retention import LOST

REBUILT = "rebuild it from the adapters on disk and the event log"
_ID = re.compile(r"a([0-9]{1,18})")


@dataclass
class Story:
    """What the event log says happened; `whole` if every line of it could be read."""

    active: str = BASE
    good: list[str] = field(default_factory=lambda: [BASE])
    quarantined: dict[str, str] = field(default_factory=dict)
    steps: int = 0  # changes of what serves: each took a sequence number
    highest: int = 0  # the newest adapter that was ever named
    whole: bool = True

    @classmethod
    def of(cls, state: Path) -> Story:
        """Of a state folder."""
        story, untried = cls(), None
        try:
            log = state / "events.jsonl"
            (before, odd), (rows, torn) = read(older(log)), read(log)
            rows, torn = [*before, *rows], [*odd, *torn]
        except OSError:
            rows, torn = [], [b""]
        story.whole = not torn and not any(row["event"] == "log_repaired" for row in rows)
        for row in rows:
            story._hear(row, untried)
            if row["event"] == "shadow_ended":
                untried = row.get("id") if row.get("verdict") == "unfinished" else None
        return story

    def _hear(self, row: Event, untried: object) -> None:
        name, kind = row.get("id"), row["event"]
        if not is_name(name):
            return
        if found := _ID.fullmatch(name):
            self.highest = max(self.highest, int(found[1]))
        if kind in ("quarantined", "rolled_back") or (kind == "swap_refused" and name != untried):
            self._condemn(name, str(row.get("reason")))
        if kind in ("rolled_back", "set_aside") and is_name(row.get("to")):
            self._serves(row["to"])
        if kind == "rolled_back" and row.get("to") in self.good:
            self.good = self.good[: self.good.index(row["to"]) + 1]
        if kind == "swapped":
            self._serves(name)
        if kind == "probation_passed" and name not in self.good:
            self.good.append(name)

    def _condemn(self, name: str, reason: str) -> None:
        if name != BASE:
            self.quarantined[name] = reason
            self.good = [other for other in self.good if other != name]

    def _serves(self, name: str) -> None:
        self.active, self.steps = name, self.steps + 1


def check_truth(state: Path) -> Iterator[tuple[str, str, bool]]:
    """What is wrong with it, the remedy, and whether `rebuild` is that.

    That what is active is quarantined or on probation is no fault: the next start goes back.
    """
    made = {name for name in _adapters(state) if name != BASE}
    if not (state / "state.json").exists():
        if made or Story.of(state).quarantined:
            yield "it is missing, and adapters were made", REBUILT, True
        return
    try:
        truth = Registry(state).state
    except CorruptBundle as error:
        yield str(error), REBUILT, True
        return
    except OSError as error:
        yield str(error), "see its rights and the disk", False
        return
    story = Story.of(state)
    forgotten = sorted(story.quarantined.keys() - truth.quarantined.keys())
    if forgotten:
        yield (
            f"the event log says that {', '.join(forgotten)} must not serve",
            "quarantine it",
            True,
        )
    for name in dict.fromkeys([truth.active, *truth.good]):
        if name != BASE and name not in made:
            yield f"{name} ({_role(truth, name)}) is not on disk", "go on without it", True
    for name in sorted(set(truth.good) & truth.quarantined.keys()):
        yield f"{name} is good and quarantined", "believe the worse", True
    if truth.sequence < (highest := _highest(state, Story())):
        yield (
            f"its sequence is {truth.sequence}, there is an adapter of {highest}",
            "raise it",
            True,
        )


def readable(state: Path) -> str | None:
    """Make a truth that cannot be read anew: it must not keep a daemon from serving, and nobody
    may be there to call fsck. Returns what was wrong with it, None for nothing; raises OSError."""
    try:
        Registry(state)
    except CorruptBundle as error:
        rebuild(state)
        return str(error)
    return None


def rebuild(state: Path) -> None:
    """Write a truth that is true; the old one goes to lost+found. Raises OSError."""
    path, old = state / "state.json", None
    with contextlib.suppress(CorruptBundle):
        old = Registry(state).state if path.exists() else None
    if path.exists():
        _keep(state, path)
    truth = _merged(old, Story.of(state), state)
    write_atomic(path, (json.dumps(asdict(truth), indent=1) + "\n").encode())


def _merged(old: State | None, story: Story, state: Path) -> State:
    made = _adapters(state)
    told = State(active=story.active, good=story.good) if story.whole else State()
    known = old or told
    gone = {
        name: "it was rotten or gone from disk" for name in [known.active, *known.good]
        if name != BASE and name not in made
    }  # fmt: skip
    quarantined = {**story.quarantined, **gone, **known.quarantined}
    good = [name for name in known.good if name not in quarantined] or [BASE]
    fits = known.active == BASE or (known.active in made and known.active in good)
    kept_previous = known.previous in made and known.previous not in quarantined
    candidate_there = known.candidate in made and known.candidate not in quarantined
    return State(
        sequence=_highest(state, story) + story.steps + 1 if old is None
        else max(old.sequence, _highest(state, story)) + 1,
        active=known.active if fits else good[-1],
        previous=known.previous if kept_previous else None,
        candidate=known.candidate if candidate_there else None,
        good=good, quarantined=quarantined, reference=known.reference, words=known.words,
        paused=known.paused, pinned=known.pinned if fits else None,
    )  # fmt: skip


def what_is_wrong_with(folder: Path, name: str) -> str | None:
    """With an adapter that should be whole; None: nothing."""
    try:
        made = verify(folder)
    except (CorruptBundle, OSError) as error:
        return str(error) if folder.exists() else None
    if made["id"] != name:
        return f"it is the adapter {made['id']!r:.80}"
    return "its manifest cannot be" if manifest(folder) is None else None


def _adapters(state: Path) -> dict[str, dict[str, Any]]:
    """Manifests of those that are whole, by id."""
    folders = [p for p in (state / "adapters").glob("*") if p.suffix != ".tmp"]
    made = {p.name: manifest(p) for p in folders if what_is_wrong_with(p, p.name) is None}
    return {name: one for name, one in made.items() if one is not None}


def _highest(state: Path, story: Story) -> int:
    """The newest sequence number that anything on disk or in the log bears."""
    made = [int(one.get("sequence", 0)) for one in _adapters(state).values()]
    named = [int(found[1]) for name in story.quarantined if (found := _ID.fullmatch(name))]
    return max([0, story.highest, *made, *named])


def _role(truth: State, name: str) -> str:
    return "active" if name == truth.active else "good"


def _keep(state: Path, path: Path) -> None:
    place = state / LOST
    make_folder(place)
    number = 1
    while (free := place / f"{path.name}.{number}").exists():
        number += 1
    write_atomic(free, path.read_bytes())
