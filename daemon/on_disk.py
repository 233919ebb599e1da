"""What people wish for, done on a state folder that no daemon uses."""

from __future__ import annotations

from collections.abc import Callable

from acclimate.daemon.commands import fit_to_serve, known, manual, told_of_pause
from acclimate.daemon.events import EventLog
from acclimate.daemon.inbox import Asked, Wish
from acclimate.daemon.pause import Pause
from acclimate.daemon.registry import BASE, Registry
from acclimate.errors import SwapRefused


def done_on_disk(registry: Registry, events: EventLog, wish: Wish, actor: str) -> str:
    """Returns what was done, in words; raises SwapRefused, and then nothing was."""
    asked, before = Asked(wish, f"{actor} on disk"), registry.state.active
    told = WAYS[wish["do"]](registry, events, asked)
    if (active := registry.state.active) != before:
        change = {"from": before, "to": active}
        events.write("served", actor=asked.actor, **change, reason=asked.reason)
    return told


def _pause(registry: Registry, events: EventLog, asked: Asked) -> str:
    seconds = asked.wish.get("seconds")
    Pause(registry).begin(seconds)
    events.write("paused", seconds=seconds, actor=asked.actor, reason=asked.reason)
    return told_of_pause(seconds)


def _resume(registry: Registry, events: EventLog, asked: Asked) -> str:
    if registry.state.paused is None:
        return "nothing was paused"
    Pause(registry).end()
    events.write("resumed", actor=asked.actor, reason=asked.reason)
    return "rounds may start again"


def _adapt(registry: Registry, events: EventLog, asked: Asked) -> str:
    raise SwapRefused("no daemon runs here, and without one no round does: `acclimate run`")


def _roll_back(registry: Registry, events: EventLog, asked: Asked) -> str:
    active, target = registry.state.active, asked.wish.get("to") or registry.way_back()
    if target == active:
        raise SwapRefused(f"{target} is what serves already")
    if target != BASE:  # which the next start makes fit, or refuses to start
        fit_to_serve(registry, target)
    if active != BASE:
        registry.quarantine(active, manual(asked))
    _serve(registry, target)
    events.write("rolled_back", id=active, to=target, reason=manual(asked), actor=asked.actor)
    return f"{target} serves"


def _quarantine(registry: Registry, events: EventLog, asked: Asked) -> str:
    name = str(asked.wish["id"])
    known(registry, name)
    if name == registry.state.active != BASE:
        told = _roll_back(registry, events, asked)
        return f"{name} is quarantined, {told}"
    registry.quarantine(name, manual(asked))
    events.write("quarantined", id=name, reason=manual(asked), actor=asked.actor)
    return f"{name} is quarantined"


def _pin(registry: Registry, events: EventLog, asked: Asked) -> str:
    name, before = asked.wish["id"], registry.state.pinned
    if name is not None:
        fit_to_serve(registry, name)
        registry.activate(name)
        registry.trust(name)
        registry.pin(name)
        events.write("pinned", id=name, actor=asked.actor, reason=asked.reason)
        return f"{name} serves and is pinned"
    if before is None:
        return "nothing was pinned"
    registry.pin(None)
    events.write("unpinned", id=before, actor=asked.actor, reason=asked.reason)
    return f"{before} is pinned no more"


def _serve(registry: Registry, name: str) -> None:
    """A person's word is as good as a probation: the next start must not set it aside."""
    registry.forget_after(name)
    registry.activate(name)
    registry.trust(name)


WAYS: dict[str, Callable[[Registry, EventLog, Asked], str]] = {
    "pause": _pause, "resume": _resume, "adapt": _adapt, "rollback": _roll_back,
    "quarantine": _quarantine, "pin": _pin,
}  # fmt: skip
