"""`state.json`, the one truth of a state folder: what it says, how it is read and written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from acclimate.daemon.truth import check
from acclimate.errors import CorruptBundle

BASE = "base"


@dataclass
class State:
    """`good` passed probation, oldest first; `quarantined` maps an id to its reason;
    `reference` is the condition {mean, spread} in which the base, of this digest, was first seen
    ({mean, spread, base}); `words` set by hand are {key, digest, over}, `over` being the key of the
    configuration's own at that time;
    `paused` {since: unix time, seconds or None}: no rounds; `pinned`, if set, is what serves."""

    sequence: int = 0
    active: str = BASE
    previous: str | None = None
    candidate: str | None = None
    good: list[str] = field(default_factory=lambda: [BASE])
    quarantined: dict[str, str] = field(default_factory=dict)
    reference: dict[str, Any] | None = None
    words: dict[str, str] | None = None
    paused: dict[str, Any] | None = None
    pinned: str | None = None


def read_state(path: Path) -> State:
    """Raises CorruptBundle when it is no truth, OSError when the system does not let us read it."""
    try:
        raw = json.loads(path.read_text())
        if raw.pop("sha256", None) not in (None, _digest(raw)):
            raise ValueError("its content is not what was written")
        raw = {"words": None, "paused": None, "pinned": None} | raw  # there were none at first
        check(raw)
        state = State(**{item.name: raw[item.name] for item in fields(State)})
        if state.words is not None:
            state.words = {name: str(state.words[name]) for name in ("key", "digest", "over")}
        if (kept := state.paused) is not None:
            span = None if kept["seconds"] is None else float(kept["seconds"])
            state.paused = {"since": float(kept["since"]), "seconds": span}
        return state
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptBundle(
            f"{path} is unreadable ({error!r}); `acclimate fsck --repair` rebuilds it, "
            "or move it away to begin from the base"
        ) from error


def written(state: State) -> bytes:
    """What `read_state` reads."""
    told = asdict(state)
    told["sha256"] = _digest(told)
    return (json.dumps(told, indent=1) + "\n").encode()


def _digest(told: dict[str, Any]) -> str:
    """Of the state: one letter that rots must not bring back what is quarantined."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
