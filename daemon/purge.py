"""Frames of the road leave the device: by age by themselves, or all of them when someone says so.

buffer/               frames to learn from; the runtime's, and it removes them while it runs
lost+found/buffer/    those that rotted
*/memory.safetensors  frames that bundles keep for later gates; the daemon's
latest*               the newest overlays and label maps
adapters/*/probe...   four frames an adapter, without which it cannot be checked before a swap:
                      they go with their adapter
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.configs.schema import BufferConfig
from acclimate.daemon.inbox import Asked
from acclimate.daemon.registry import BASE, Registry
from acclimate.errors import SwapRefused
from acclimate.runtime.durable import remove_folder
from acclimate.runtime.keys import replace_secret
from acclimate.runtime.retention import LOST, expire, frames, memories, pictures

if TYPE_CHECKING:
    from acclimate.daemon.lifecycle import Lifecycle

LOOK_EVERY = 60.0


@dataclass(frozen=True)
class Purged:
    """What was removed. `key`: what became of the key of the buffer, None where nobody asked."""

    frames: int = 0
    memories: int = 0
    adapters: int = 0
    key: str | None = None

    def __str__(self) -> str:
        parts = [
            (self.frames, "buffered frames"), (self.memories, "bundles' kept frames"),
            (self.adapters, "adapters"),
        ]  # fmt: skip
        told = ", ".join(f"{count} {what}" for count, what in parts if count) or "nothing"
        return f"removed: {told}" + (f"; {self.key}" if self.key else "")


def on_disk(
    registry: Registry, buffer: BufferConfig, hours: float | None, memory: bool, adapters: bool
) -> Purged:
    """Purge a state folder that no daemon uses: frames older than `hours` (0: all, and the key with
    them; None: none), what bundles keep, all adapters but the base. Raises OSError."""
    state, gone, key = registry.folder, 0, None
    if hours is not None:
        gone = len(expire([*frames(state / "buffer"), *rotten(state)], hours))
    if hours == 0:
        expire(pictures(state), 0)
        key = forget_key(buffer)
    kept = len(expire(memories(state), hours or 0.0)) if memory else 0
    return Purged(gone, kept, forget_adapters(registry) if adapters else 0, key)


def rotten(state: Path) -> list[Path]:
    """Buffered frames that `acclimate fsck` put aside."""
    return frames(state / LOST / "buffer")


def forget_key(buffer: BufferConfig) -> str | None:
    """Put another key in the place of the buffer's; returns what became of it."""
    if buffer.key_file is None:
        return None
    try:
        replace_secret(Path(buffer.key_file))
    except OSError as error:
        return still_there(buffer.key_file, error)
    return destroyed(buffer.key_file)


def destroyed(key_file: str) -> str:
    """What to say of a key that is gone."""
    return f"the key in {key_file} was destroyed and a new one made"


def still_there(key_file: str, error: object) -> str:
    """What to say of a key that is not."""
    return f"THE KEY IS STILL THERE: {key_file} cannot be replaced ({error}); do it by hand"


def forget_adapters(registry: Registry) -> int:
    """Back to the base alone, first on paper and then on disk; returns how many are gone."""
    others = [name for name in registry.names() if name != BASE]
    registry.forget_all()
    copies = [path for name in others for path in registry.folder.glob(f"words/*/{name}")]
    left = [registry.folder / "candidates", *copies]
    for folder in [*(registry.folder / "adapters" / name for name in others), *left]:
        if folder.is_dir():
            remove_folder(folder)
    return len(others)


class Purge:
    """The running daemon's part: what bundles keep goes by age, and all that a wish asks for."""

    def __init__(self, life: Lifecycle) -> None:
        self._life, self._looked = life, float("-inf")
        self._asked: tuple[Asked, int] | None = None  # and how many memories went already

    def look(self) -> None:
        """Now and then, what bundles keep for too long."""
        hours = self._life.config.buffer.max_age_hours
        if not hours or time.monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = time.monotonic()
        with contextlib.suppress(OSError):  # a disk that refuses is asked again
            state = self._life.registry.folder
            kept, lost = expire(memories(state), hours), expire(rotten(state), hours)
            if kept or lost:
                told = Purged(len(lost), len(kept))
                self._life.events.write("purged", actor="age", message=str(told), **vars(told))

    def begin(self, asked: Asked) -> None:
        """{"hours": h, 0 or None, "memory": bool}, as `on_disk`; answered when it is done. A round
        under way would leave frames that it has read already."""
        life, hours = self._life, asked.wish.get("hours")
        if hours is not None and not (isinstance(hours, int | float) and hours >= 0):
            raise SwapRefused(f"{hours!r} is no number of hours")
        if self._asked is not None:
            raise SwapRefused("a purge is under way; ask again when it is done")
        life.rounds.cancel()
        memory = bool(asked.wish.get("memory"))
        kept = len(expire(memories(life.registry.folder), hours or 0.0)) if memory else 0
        if hours is None:
            self._done(asked, Purged(memories=kept))
        else:
            gone = pictures(life.registry.folder) if not hours else []  # of cameras that are gone
            expire([*rotten(life.registry.folder), *gone], hours)
            self._asked = asked, kept
            life.serving.send({"cmd": "purge", "hours": hours})

    def heed(self, event: dict[str, Any]) -> None:
        """The serving process has done its part."""
        if self._asked is None:
            return
        (asked, kept), self._asked = self._asked, None
        if why := event.get("trouble"):
            self._refuse(asked, why)
            return
        key_file, key = self._life.config.buffer.key_file, None
        if event["hours"] == 0 and key_file is not None:
            why = event.get("key_trouble")
            key = destroyed(key_file) if why is None else still_there(key_file, why)
        self._done(asked, Purged(event["frames"], kept, key=key))

    def give_up(self, why: str) -> None:
        """The serving process is gone; what it had not told of may be done or not."""
        if self._asked is not None:
            (asked, _), self._asked = self._asked, None
            self._refuse(asked, f"{why}; ask again")

    def _refuse(self, asked: Asked, why: str) -> None:
        command = {"do": "purge", "hours": asked.wish.get("hours")}
        self._life.events.write("command_refused", command=command, actor=asked.actor, reason=why)
        asked.refuse(why)

    def _done(self, asked: Asked, told: Purged) -> None:
        self._life.events.write("purged", actor=asked.actor, message=str(told), **vars(told))
        asked.done(str(told))
