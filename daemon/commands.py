"""What `acclimate adapters` and `acclimate vocab` wish for: done by the running daemon, or on disk
where none runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from acclimate.daemon.registry import BASE, Registry
from acclimate.errors import SwapRefused

if TYPE_CHECKING:
    from acclimate.daemon.lifecycle import Lifecycle

Wish = dict[str, Any]


def obey(life: Lifecycle, wish: Wish) -> None:
    """{"do": "rollback", "to": id or nothing}, {"do": "quarantine", "id": id} or {"do":
    "vocabulary", "id": any, "vocabulary": content of a file}; refusals are told as an event."""
    try:
        if wish.get("do") == "rollback":
            _roll_back(life, wish.get("to"))
        elif wish.get("do") == "quarantine":
            _quarantine(life, str(wish["id"]))
        elif wish.get("do") == "vocabulary":
            life.reword(wish)
        else:
            raise SwapRefused("there is no such command")
    except (SwapRefused, KeyError) as error:
        life.events.write("command_refused", command=wish, reason=str(error))


def _roll_back(life: Lifecycle, to: str | None) -> None:
    target = to or life.registry.way_back()
    if target == life.registry.state.active:
        raise SwapRefused(f"{target} is what serves already")
    if not life.registry.may_serve(target):
        raise SwapRefused(f"there is no adapter {target} that may serve with the words of now")
    life.roll_back("manual", target)


def _quarantine(life: Lifecycle, name: str) -> None:
    if life.registry.manifest(name) is None:
        raise SwapRefused(f"there is no adapter {name}")
    if name == life.registry.state.active != BASE:
        life.roll_back("manual")
    else:
        life.registry.quarantine(name, "manual")
        life.events.write("quarantined", id=name, reason="manual")


def done_on_disk(registry: Registry, wish: Wish) -> None:
    """The wish on a state folder that no daemon uses."""
    active = registry.state.active
    target = wish.get("to") or registry.way_back()
    if wish["do"] == "quarantine" and wish["id"] != active:
        registry.quarantine(wish["id"], "manual")
        return
    if active != BASE:
        registry.quarantine(active, "manual")
    registry.forget_after(target)
    registry.activate(target)
    registry.trust(target)
