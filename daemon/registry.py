"""Which adapter serves, which served before, which must never serve again.

`state.json` is the one truth, replaced whole. `adapters/<id>` without a readable manifest does
not exist. Sequence numbers only rise: a rollback is a new one that points to an older adapter.
The newest `KEPT` good adapters and the newest `KEPT` others stay on disk.

`learned/` is what the last round learned if it was sound but not better than what serves: the next
round starts from it, so that small steps can add up that none would be served for. It never serves.

The words that serve belong to this truth too: those of the configuration, or others set by hand
over them, for which adapters have copies (see `acclimate.runtime.job.place_for`).
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from acclimate.daemon.state import BASE as BASE
from acclimate.daemon.state import State, read_state, written
from acclimate.errors import SwapRefused
from acclimate.runtime.durable import make_folder, remove_folder, sync, write_atomic
from acclimate.runtime.job import Place, manifest, place_for
from acclimate.runtime.trust import distrust

KEPT = 16


class Registry:
    """The adapters of one state folder."""

    def __init__(self, folder: Path) -> None:
        """Open; nothing is made before something is written. Raises CorruptBundle when `state.json`
        is no truth, OSError when the system does not let us read it."""
        self.folder = folder
        self._path = folder / "state.json"
        self.state, self._unsaved = self._read(), False

    def sweep(self) -> None:
        """Remove leftovers of torn writes, as far as the disk lets us. Only for the holder of the
        folder: to all others they may be what it is writing."""
        for torn in [*(self.folder / "adapters").glob("*.tmp"), self.folder / "learned.tmp"]:
            shutil.rmtree(torn, ignore_errors=True)
            with contextlib.suppress(OSError):  # a file of that name
                torn.unlink(missing_ok=True)

    def folder_of(self, name: str) -> Path:
        """Where an adapter lies with the words that serve, or with its own if it has not those."""
        place = self.place(name, self.words_digest)
        return place.bundle if place.ready else self._own(name)

    def place(self, name: str, digest: str | None) -> Place:
        """Where an adapter lies with the words of this digest, if it does."""
        return place_for(self.folder, name, digest)

    @property
    def words_digest(self) -> str | None:
        """Digest of the words that serve."""
        if self.state.words is not None:
            return self.state.words["digest"]
        return (self.manifest(BASE) or {}).get("vocabulary_digest")

    def reword(self, words: dict[str, str] | None) -> None:
        """These words serve from now on; None = those of the configuration."""
        self.state.words = words
        self._forget_learned()

    def manifest(self, name: str) -> dict[str, Any] | None:
        """An adapter's own manifest, None if there is no such adapter."""
        return manifest(self._own(name))

    def card(self, name: str) -> dict[str, Any] | None:
        """What an adapter earned, and over which alternative: {over, gain, low, high, confidence};
        None for the base and for what never met one."""
        card = (self.manifest(name) or {}).get("card") or {}
        numbers = all(type(card.get(key)) in (int, float) for key in ("gain", "low", "high"))
        return card if numbers and "over" in card else None

    def names(self) -> list[str]:
        """Every adapter on disk, in order of age."""
        whole = [p for p in (self.folder / "adapters").glob("*") if p.suffix != ".tmp"]
        rows = [(p.name, self.manifest(p.name)) for p in whole]
        found = [(m.get("sequence", 0), name) for name, m in rows if m is not None]
        return [name for _, name in sorted(found)]

    def may_serve(self, name: str) -> bool:
        """Is it there, for this base and engine and with these words, and not quarantined?"""
        made, base = self.manifest(name), self.manifest(BASE) or {}
        fits = made is not None and made.get("base_digest") == base.get("base_digest")
        if not fits or name in self.state.quarantined:
            return False
        place = self.place(name, self.words_digest)
        return place.ready and self._fits_engine(name) and self.distrust(name) is None

    def condemned(self, made: dict[str, Any]) -> str | None:
        """Why this manifest's adapter must not serve, whatever its id: one with the same inputs is
        quarantined. None where no such one lies here any more."""
        inputs = made.get("files", {}).get("inputs.safetensors")
        for name, reason in self.state.quarantined.items() if inputs else ():
            other = (self.manifest(name) or {}).get("files", {})
            if other.get("inputs.safetensors") == inputs:
                return f"it is the same as {name}, which is quarantined: {reason}"
        return None

    def distrust(self, name: str) -> str | None:
        """Why its signature does not do here; None where it does, or nobody asks for one."""
        return distrust(self.folder_of(name) / "manifest.json")

    def _fits_engine(self, name: str) -> bool:
        """Has it the base's inputs? Not after `adapt.blocks` or the graph changed: the runtime
        would die of it. A file that cannot be read is left to the runtime, which says why."""
        own, needed = (_inputs(self.folder_of(one)) for one in (name, BASE))
        return None in (own, needed) or own == needed

    def word_for(self, name: str) -> str:
        """active, quarantined, previous, candidate, good or kept."""
        state = self.state
        if name == state.active:
            return "active"
        if name in state.quarantined:
            return "quarantined"
        if name == state.previous:
            return "previous"
        if name == state.candidate:
            return "candidate"
        return "good" if name in state.good else "kept"

    def next_name(self) -> tuple[int, str]:
        """A sequence number and the adapter id that goes with it."""
        state = self.state
        state.sequence += 1
        while (name := f"a{state.sequence:04d}") in state.quarantined or self._own(name).exists():
            state.sequence += 1  # a truth that was lost does not bring an id back
        self._write()
        return state.sequence, name

    def adopt(self, name: str, folder: Path) -> None:
        """Take a candidate in; it serves only once the runtime has taken it up."""
        make_folder(self.folder / "adapters")
        folder.rename(self._own(name))
        sync(self.folder / "adapters")
        self.state.candidate = name
        self._write()

    @property
    def learned(self) -> Path:
        """Where the next round starts, if it is there; else from what serves."""
        return self.folder / "learned"

    def learn(self, folder: Path | None) -> None:
        """The next round starts from this; None: from what serves."""
        if self.learned.is_dir():
            remove_folder(self.learned)
        if folder is not None:
            folder.rename(self.learned)
            sync(self.folder)

    def _forget_learned(self) -> None:
        """Then flip the truth, which a disk that does not let go of a folder must not hold up."""
        try:
            self.learn(None)
        finally:
            self._write()

    def prune(self) -> list[str]:
        """Remove the oldest good and the oldest other adapters, and say which; quarantined ids stay
        remembered. Not while a swap is under way: what it swaps to may be among them."""
        state, gone = self.state, self._surplus()
        if not set(gone).isdisjoint(state.good):
            state.good = [name for name in state.good if name not in gone]
            self._write()
        for name in gone:
            for copy in [*self.folder.glob(f"words/*/{name}"), self._own(name)]:
                remove_folder(copy)
        return gone

    def _surplus(self) -> list[str]:
        state = self.state
        needed = {BASE, state.active, state.previous, state.candidate}
        spare = [name for name in self.names() if name not in needed]
        good = [name for name in spare if name in state.good]
        others = [name for name in spare if name not in state.good]
        return good[:-KEPT] + others[:-KEPT]

    def activate(self, name: str) -> None:
        """`name` serves from now on."""
        state = self.state
        if name in state.quarantined:
            raise SwapRefused(f"{name} is quarantined: {state.quarantined[name]}")
        state.sequence += 1
        if name != state.active:
            state.previous, state.active = state.active, name
        if state.pinned != name:
            state.pinned = None
        if state.candidate == name:
            state.candidate = None
        self._write()

    def nominate(self, name: str) -> None:
        """An adapter that lies here is a candidate, at someone's word."""
        self.state.candidate = name
        self._write()

    def forget_all(self) -> None:
        """The base serves, and nothing else is known but what is quarantined."""
        state = self.state
        state.sequence += 1
        state.active, state.previous, state.candidate, state.good = BASE, None, None, [BASE]
        self._forget_learned()

    def trust(self, name: str) -> None:
        """`name` passed probation."""
        if name not in self.state.good:
            self.state.good.append(name)
            self._write()

    def pause(self, paused: dict[str, Any] | None) -> None:
        """Rounds are paused, or None: no more."""
        self.state.paused = paused
        self._write()

    def pin(self, name: str | None) -> None:
        """`name`, which serves, is not to be replaced; None: it may be again."""
        self.state.pinned = name
        self._write()

    def quarantine(self, name: str, reason: str) -> None:
        """Never serve `name` again. Raises SwapRefused for the base, which is always there."""
        if name == BASE:
            raise SwapRefused("the base cannot be quarantined; it is what is left to fall back to")
        state = self.state
        state.quarantined[name] = reason
        if state.pinned == name:
            state.pinned = None
        state.good = [other for other in state.good if other != name]
        if state.candidate == name:
            state.candidate = None
        self._forget_learned()

    def forget_after(self, name: str) -> None:
        """Keep adapters newer than `name` on disk, but recall none of them."""
        if name in self.state.good:
            self.state.good = self.state.good[: self.state.good.index(name) + 1]
            self._write()

    def way_back(self) -> str:
        """Where a rollback goes: the previous adapter if it is good, else the newest good one."""
        state = self.state
        newest_last = [*state.good, *(name for name in state.good if name == state.previous)]
        others = [name for name in newest_last if name != state.active and self.may_serve(name)]
        return others[-1] if others else BASE

    def remember_reference(self, mean: list[float], spread: float) -> None:
        """The condition that the base belongs to."""
        base = (self.manifest(BASE) or {}).get("base_digest")
        self.state.reference = {"mean": mean, "spread": spread, "base": base}
        self._write()

    def shares(self, name: str) -> list[float] | None:
        """Class shares (T,) of what an adapter said of the frames it was judged on, if it was."""
        told = (self.manifest(name) or {}).get("shares")
        sound = isinstance(told, list) and all(isinstance(share, float) for share in told)
        return told if sound else None

    def condition(self, name: str) -> dict[str, Any] | None:
        """The condition an adapter was made in: {mean, spread}."""
        if name != BASE:
            return (self.manifest(name) or {}).get("condition")
        found, base = self.state.reference, (self.manifest(BASE) or {}).get("base_digest")
        return found if found is not None and found.get("base", base) == base else None

    def _read(self) -> State:
        if self._path.exists():
            return read_state(self._path)
        made = ((self.manifest(name) or {}).get("sequence", 0) for name in self.names())
        return State(sequence=max(made, default=0))

    def _own(self, name: str) -> Path:
        return self.folder / "adapters" / name

    @property
    def unsaved(self) -> bool:
        """Does memory know what the disk refused?"""
        return self._unsaved

    def save(self) -> None:
        """Write what a full disk refused before; until then memory is the truth."""
        if self._unsaved:
            self._write()

    def _write(self) -> None:
        self._unsaved = True
        make_folder(self.folder / "adapters")
        write_atomic(self._path, written(self.state))
        self._unsaved = False


def _inputs(folder: Path) -> list[str] | None:
    """Names of the engine inputs a bundle brings; None where they cannot be read."""
    try:
        with safe_open(folder / "inputs.safetensors", "numpy") as file:
            return sorted(file.keys())
    except (OSError, SafetensorError):
        return None
