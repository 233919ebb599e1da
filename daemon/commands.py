"""What people wish for, done by the running daemon between two looks (without one: `on_disk`).

    {"do": "pause", "seconds": s or None}    no rounds, a running one is cancelled
    {"do": "resume"}
    {"do": "adapt"}                          a round now, unless something forbids it
    {"do": "rollback", "to": id or None}     quarantine what serves
    {"do": "quarantine", "id": id}
    {"do": "pin", "id": id or None}          it serves, and no round and no recall replaces it
    {"do": "vocabulary", "id": any, "vocabulary": content of a file}
    {"do": "import", "folder": name}         take in what `transfer` has examined
    {"do": "try", "id": id}                  it serves on probation, past the gate
    {"do": "purge", "hours": h or None, "memory": bool}

Each may have a "reason".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from acclimate.daemon.inbox import Asked
from acclimate.daemon.registry import BASE, Registry
from acclimate.daemon.status import doing, span
from acclimate.daemon.transfer import arrival, take_in
from acclimate.errors import BundleError, SwapRefused

if TYPE_CHECKING:
    from acclimate.daemon.lifecycle import Lifecycle

AT_ONCE = ("pause", "resume", "adapt")  # the others wait for a swap under way


class Commands:
    """Takes wishes from the inbox; one whose adapter is to serve is answered once it does."""

    def __init__(self, life: Lifecycle) -> None:
        self._life = life
        self._open: tuple[Asked, str, str] | None = None  # the adapter, what to say once it serves

    def heed(self) -> None:
        """Answer what is done, take the next wish."""
        busy = self._life.swapping is not None
        if self._open is not None and not busy:
            self._close(*self._open)
        asked = self._life.inbox.take(AT_ONCE if busy else None)
        if asked is not None:
            self._obey(asked)

    def _done(self, asked: Asked, told: str) -> None:
        if self._life.registry.unsaved:
            told += (
                "; but the disk does not take it, and until there is room it is lost with the "
                f"daemon: {self._life.trouble}"
            )
        asked.done(told)

    def _close(self, asked: Asked, wanted: str, told: str) -> None:
        self._open, active = None, self._life.registry.state.active
        if active == wanted:
            self._done(asked, told)
        else:
            asked.refuse(f"{wanted} did not take over, {active} serves; see `acclimate events`")

    def _obey(self, asked: Asked) -> None:
        try:
            way = WAYS.get(str(asked.wish.get("do")))
            if way is None:
                raise SwapRefused("there is no such command")
            told = way(self._life, asked)
        except (SwapRefused, BundleError, KeyError) as error:
            command = {k: v for k, v in asked.wish.items() if k != "vocabulary"}
            self._life.events.write(
                "command_refused", command=command, actor=asked.actor, reason=str(error)
            )
            asked.refuse(str(error))
        except OSError as error:
            asked.refuse(f"the disk refuses: {error}")
            raise
        else:
            if told is None:
                return  # whoever took it up answers
            if self._life.swapping is None or asked.wish["do"] in AT_ONCE:
                self._done(asked, told)
            else:
                self._open = asked, self._life.swapping[0], told


def _pause(life: Lifecycle, asked: Asked) -> str:
    seconds = asked.wish.get("seconds")
    life.keep(life.pause.begin, seconds)
    life.rounds.cancel()
    life.events.write("paused", seconds=seconds, actor=asked.actor, reason=asked.reason)
    return told_of_pause(seconds)


def _resume(life: Lifecycle, asked: Asked) -> str:
    if life.registry.state.paused is None:
        return "nothing was paused"
    life.keep(life.pause.end)
    life.events.write("resumed", actor=asked.actor, reason=asked.reason)
    return "rounds may start again"


def _adapt(life: Lifecycle, asked: Asked) -> str:
    if life.changing:
        raise SwapRefused(f"no round now: {doing(life)}")
    if life.trouble is not None:
        raise SwapRefused(f"no round now: {life.trouble}")
    if (why_not := life.rounds.forbidden) is not None:
        raise SwapRefused(f"no round now: {why_not}")
    return f"round {life.rounds.start(f'{asked.reason}, by {asked.actor}')} has begun"


def _roll_back(life: Lifecycle, asked: Asked) -> str:
    target = asked.wish.get("to") or life.registry.way_back()
    if target == life.registry.state.active:
        raise SwapRefused(f"{target} is what serves already")
    fit_to_serve(life.registry, target)
    life.roll_back(manual(asked), target, asked.actor)
    return f"{target} serves"


def _quarantine(life: Lifecycle, asked: Asked) -> str:
    name = str(asked.wish["id"])
    known(life.registry, name)
    if name == life.registry.state.active != BASE:
        target = life.roll_back(manual(asked), None, asked.actor)
        return f"{name} is quarantined, {target} serves"
    life.keep(life.registry.quarantine, name, manual(asked))
    life.events.write("quarantined", id=name, reason=manual(asked), actor=asked.actor)
    return f"{name} is quarantined"


def _pin(life: Lifecycle, asked: Asked) -> str:
    name, registry = asked.wish["id"], life.registry
    if name is None:
        return _unpin(life, asked)
    fit_to_serve(registry, name)
    life.rounds.cancel()
    if name != registry.state.active:
        life.swap(name, "pinned", asked.actor, asked.reason)
    else:
        life.keep(registry.pin, name)
        life.events.write("pinned", id=name, actor=asked.actor, reason=asked.reason)
    return f"{name} serves and is pinned"


def _unpin(life: Lifecycle, asked: Asked) -> str:
    if (name := life.registry.state.pinned) is None:
        return "nothing was pinned"
    life.keep(life.registry.pin, None)
    life.events.write("unpinned", id=name, actor=asked.actor, reason=asked.reason)
    return f"{name} is pinned no more"


def _reword(life: Lifecycle, asked: Asked) -> str:
    life.reword({**asked.wish, "actor": asked.actor})
    return "taken up"


def _import(life: Lifecycle, asked: Asked) -> str:
    name = take_in(life.registry, arrival(life.registry.folder, str(asked.wish["folder"])))
    life.events.write("imported", id=name, actor=asked.actor, reason=asked.reason)
    return told_of_import(name)


def _try(life: Lifecycle, asked: Asked) -> str:
    name = str(asked.wish["id"])
    if name == life.registry.state.active:
        raise SwapRefused(f"{name} is what serves already")
    fit_to_serve(life.registry, name)
    if life.changing:
        raise SwapRefused("what serves is changing right now; try again after its probation")
    life.events.write("tried", id=name, actor=asked.actor, reason=asked.reason)
    life.try_out(name, asked.actor, asked.reason)
    return f"{name} serves, on probation"


def _purge(life: Lifecycle, asked: Asked) -> None:
    life.purge.begin(asked)


def told_of_import(name: str) -> str:
    """Where an import is."""
    return f"it is {name} here; `acclimate adapters try {name}` puts it on probation"


def manual(asked: Asked) -> str:
    """The reason of a quarantine; its first word is a label of a metric."""
    given = asked.wish.get("reason")
    return f"manual ({given})" if given else "manual"


def known(registry: Registry, name: str) -> dict[str, Any]:
    """An adapter's manifest; raises SwapRefused naming those there are."""
    made = registry.manifest(name) if name in (names := registry.names()) else None
    if made is None:  # or a path that leads to one, which no quarantine would know by that name
        raise SwapRefused(f"there is no adapter {name}; there are {', '.join(names)}")
    return made


def fit_to_serve(registry: Registry, name: str) -> None:
    """Raises SwapRefused with the reason why an adapter may not serve."""
    made = known(registry, name)
    if name in registry.state.quarantined:
        raise SwapRefused(f"{name} is quarantined: {registry.state.quarantined[name]}")
    if name != BASE and (why := registry.condemned(made)) is not None:
        raise SwapRefused(f"{name} must not serve: {why}")
    if (why := registry.distrust(name)) is not None:
        raise SwapRefused(why)
    if not registry.may_serve(name):
        raise SwapRefused(
            f"{name} may not serve with the words of now: it was made for others, or for another "
            "base or engine"
        )


def told_of_pause(seconds: float | None) -> str:
    """A pause in words."""
    how_long = "until `acclimate resume`" if seconds is None else f"for {span(seconds)}"
    return f"paused {how_long}: what serves goes on, no round starts"


WAYS: dict[str, Callable[[Lifecycle, Asked], str | None]] = {
    "pause": _pause, "resume": _resume, "adapt": _adapt, "rollback": _roll_back,
    "quarantine": _quarantine, "pin": _pin, "vocabulary": _reword, "import": _import, "try": _try,
    "purge": _purge,
}  # fmt: skip
