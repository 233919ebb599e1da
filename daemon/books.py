"""Lines of the history that no running life cycle writes: what changed on disk or at a start.

Every change of what is served has one: {time, actor, from, to, reason}.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Any

from acclimate.daemon.events import EventLog
from acclimate.daemon.journal import history
from acclimate.daemon.registry import BASE, Registry
from acclimate.daemon.unix import user_name

UNTOLD = "found at the start: a power cut or a repair came before the line that should tell"
OF_BASE = {"base_digest": "other weights", "vocabulary_digest": "other words"}


def served(events: EventLog, actor: str, before: str, now: str, reason: str) -> None:
    """`now` serves, or at the next start will."""
    events.write("served", actor=actor, **{"from": before}, to=now, reason=reason)


def by_user(state: Path, before: str, now: str, reason: str) -> None:
    """The same, by who runs this command on a folder that no daemon uses."""
    events = EventLog(state / "events.jsonl", lambda _: None)
    served(events, f"user {user_name(os.geteuid())} on disk", before, now, reason)


def by_configuration(events: EventLog, before: dict[str, Any] | None, registry: Registry) -> None:
    """A start with another configuration, if it made another base; `before` is the manifest of
    the one there was."""
    now, active = registry.manifest(BASE), registry.state.active
    if before is None or now is None:
        return
    other = [what for key, what in OF_BASE.items() if before.get(key) != now.get(key)]
    if other:
        reason = f"the configuration names {' and '.join(other)}"
        served(events, "configuration", active, active, reason)


def last_told(state: Path) -> str:
    """What serves by the newest line; the base, with which all begins, if there is none."""
    told = deque(history(state / "events.jsonl"), 1)
    return str(told[0]["to"]) if told else BASE
