"""`acclimate fsck`: is everything in a state folder whole? And what can be done where it is not.

Nothing is deleted: what is rotten moves to `lost+found/`, under the path that it had.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from acclimate.daemon.events import older, read
from acclimate.daemon.fsck_truth import check_truth, rebuild, what_is_wrong_with
from acclimate.daemon.hold import is_held
from acclimate.daemon.main import only_one
from acclimate.daemon.registry import BASE
from acclimate.daemon.words import read_kept
from acclimate.errors import (
    AcclimateError,
    ConfigError,
    CorruptBundle,
    EngineError,
    SourceError,
)
from acclimate.runtime import cache
from acclimate.runtime.bundle import verify
from acclimate.runtime.durable import make_folder, sha256, sync, write_atomic
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.entry import ROT, sequence_of, share_of, signals
from acclimate.runtime.retention import LOST, frames
from acclimate.runtime.vault import Vault


@dataclass(frozen=True)
class Problem:
    """`kind` is one word; `mend` does what `remedy` says, None where only people can."""

    kind: str
    where: Path
    what: str
    remedy: str
    mend: Callable[[], None] | None = None


@dataclass(frozen=True)
class Folder:
    """A state folder under examination; while a daemon `runs` on it, leftovers may be its work."""

    state: Path
    runs: bool = False

    def problems(self) -> Iterator[Problem]:
        """All of them, the truth's last: it names what is then known to be rotten."""
        for check in (
            self._adapters, self._copies, self._learned, self._engines, self._vocabularies,
            self._buffer, self._records, self._log, self._leftovers, self._truth,
        ):  # fmt: skip
            yield from check()

    def repair(self) -> list[Problem]:
        """Do what can be done; returns what was wrong. Only for the holder of the folder."""
        found = list(self.problems())
        _mend(problem for problem in found if problem.kind not in ("truth", "events"))
        _mend(list(self._truth())[:1])  # of what is left now, by a log that still shows its tears
        _mend(problem for problem in found if problem.kind == "events")
        return found

    # ---- what there is to look at

    def _adapters(self) -> Iterator[Problem]:
        for folder in _inside(self.state / "adapters"):
            if folder.suffix == ".tmp" or (why := _rot(folder)) is None:
                continue
            if folder.name == BASE:
                remedy = "`acclimate export` makes it again, where torch is"
                yield Problem("base", folder, why, remedy)
            else:
                yield self._lost(
                    "adapter", folder, why, "; if it serves, the last good one does instead"
                )

    def _copies(self) -> Iterator[Problem]:
        for folder in _inside(self.state / "words", "*/*"):
            if ".tmp" in (folder.suffix, folder.parent.suffix) or not folder.is_dir():
                continue
            rot = _engine_rot if folder.name == "engine" else _copy_rot
            if (why := rot(folder)) is not None:
                yield self._lost("words", folder, why, "; they are embedded again when asked for")

    def _learned(self) -> Iterator[Problem]:
        folder = self.state / "learned"
        if folder.exists() and (why := _copy_rot(folder)) is not None:
            yield self._lost("learned", folder, why, "; the next round starts from what serves")

    def _engines(self) -> Iterator[Problem]:
        graph = self.state / "engine"
        if graph.is_dir() and (why := _engine_rot(graph)) is not None:
            remedy = "`acclimate export` makes it again, where torch is"
            yield Problem("engine", graph, why, remedy)
        for folder in cache.folders(graph):
            try:
                cache.verify(folder)
            except EngineError as error:
                yield self._lost("engine", folder, str(error), "; the next start builds it again")

    def _vocabularies(self) -> Iterator[Problem]:
        for path in _inside(self.state / "vocabularies", "*.yaml"):
            if read_kept(self.state, path.stem) is None:
                yield self._lost("vocabulary", path, "its words are not those of its name")

    def _buffer(self) -> Iterator[Problem]:
        for path in frames(self.state / "buffer"):
            if path.suffix == ".tmp":
                continue
            try:
                sequence_of(path), share_of(path)
                with contextlib.suppress(SourceError):  # encrypted: all that is seen without a key
                    signals(Vault(None).open(path.name, path.read_bytes()))
            except FileNotFoundError:  # a daemon that runs has just removed it
                continue
            except OSError as error:
                yield _unreadable(path, error)
            except ROT as error:
                yield self._lost("frame", path, f"no whole frame: {error}")

    def _records(self) -> Iterator[Problem]:
        path = self.state / "config.json"
        yield from self._json("config", path, "; `acclimate run` writes it again")

    def _json(self, kind: str, path: Path, then: str) -> Iterator[Problem]:
        try:
            json.loads(path.read_text())
        except FileNotFoundError:
            return
        except OSError as error:
            yield _unreadable(path, error)
        except (ValueError, RecursionError) as error:
            yield self._lost(kind, path, f"no JSON: {error}", then)

    def _log(self) -> Iterator[Problem]:
        log = self.state / "events.jsonl"
        for path in (older(log), log):
            yield from self._part_of_log(path)

    def _part_of_log(self, path: Path) -> Iterator[Problem]:
        try:
            rows, torn = read(path)
        except OSError as error:
            yield _unreadable(path, error)
            return
        if torn and not self.runs:

            def mend() -> None:
                _move(self.state, path, keep=True)
                told = {"t": 0.0, "time": time.time(), "lost": what}
                whole = [*rows, {"event": "log_repaired", **told}]
                write_atomic(path, b"".join(json.dumps(row).encode() + b"\n" for row in whole))

            what = f"{len(torn)} of {len(rows) + len(torn)} lines cannot be read"
            yield Problem("events", path, what, f"leave them out; the whole goes to {LOST}", mend)

    def _leftovers(self) -> Iterator[Problem]:
        places = ("*.tmp", "adapters/*.tmp", "buffer/*.tmp", "vocabularies/*.tmp",
                  "words/*.tmp", "words/*/*.tmp", "engines/*.tmp")  # fmt: skip
        for pattern in () if self.runs else places:
            for path in sorted(self.state.glob(pattern)):
                yield self._lost("leftover", path, "a write or a removal that was cut short")

    def _truth(self) -> Iterator[Problem]:
        for what, remedy, can in check_truth(self.state):
            mend = partial(rebuild, self.state) if can else None
            yield Problem("truth", self.state / "state.json", what, remedy, mend)

    def _lost(self, kind: str, path: Path, what: str, then: str = "") -> Problem:
        remedy = f"move it to {LOST}{then}"
        return Problem(kind, path, what, remedy, lambda: _move(self.state, path))


def _mend(problems: Iterable[Problem]) -> None:
    for problem in problems:
        if problem.mend is not None:
            problem.mend()


def _inside(folder: Path, pattern: str = "*") -> list[Path]:
    return sorted(folder.glob(pattern))


def _rot(folder: Path) -> str | None:
    """What is wrong with an adapter that should be whole; None: nothing."""
    return what_is_wrong_with(folder, folder.name)


def _copy_rot(folder: Path) -> str | None:
    try:
        verify(folder)
    except (CorruptBundle, OSError) as error:
        return str(error) if folder.exists() else None
    return None


def _engine_rot(folder: Path) -> str | None:
    try:
        info, path = EngineInfo.load(folder), folder / cache.ONNX
        if sha256(path) != info.onnx_sha256:
            return f"{path} was altered"
    except (EngineError, OSError) as error:
        return str(error)
    return None


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem("unreadable", path, str(error), "see its rights and the disk")


def _move(state: Path, path: Path, keep: bool = False) -> None:
    """To lost+found, beside what came there before; with `keep` a copy."""
    place = state / LOST / path.relative_to(state)
    make_folder(place.parent)
    number, free = 0, place
    while free.exists():
        number += 1
        free = place.with_name(f"{place.name}.{number}")
    if keep:
        write_atomic(free, path.read_bytes())
        return
    path.rename(free)
    sync(free.parent)
    sync(path.parent)


def fsck_action(options: argparse.Namespace) -> int:
    """Check everything in a state folder: the truth, digests, frames, events, leftovers."""
    state: Path = options.state
    if not state.is_dir():
        raise ConfigError([f"no state folder {state}; give --state"])
    if not options.repair:
        found = left = list(Folder(state, is_held(state)).problems())
    else:
        found, left = _repaired(state)
    (_print_json if options.json else _print)(state, found, left)
    return 1 if left else 0


def _repaired(state: Path) -> tuple[list[Problem], list[Problem]]:
    if is_held(state):
        raise AcclimateError(f"a daemon runs on {state}: stop it first, or leave out --repair")
    with only_one(state):
        found = Folder(state).repair()
        return found, list(Folder(state).problems())


def _print(state: Path, found: list[Problem], left: list[Problem]) -> None:
    again = {(problem.kind, problem.where) for problem in left}
    for one in found:
        stays = (one.kind, one.where) in again
        who = "by hand" if one.mend is None else "--repair would" if stays else "done"
        print(f"{one.kind}: {one.where}: {one.what}\n  {who}: {one.remedy}")
    print(f"{state}: {len(found)} problems, {len(left)} left" if found else f"{state} is whole")


def _print_json(state: Path, found: list[Problem], left: list[Problem]) -> None:
    again = {(problem.kind, problem.where) for problem in left}
    rows = [
        {
            "kind": one.kind, "where": str(one.where), "what": one.what, "remedy": one.remedy,
            "can_repair": one.mend is not None, "left": (one.kind, one.where) in again,
        }
        for one in found
    ]  # fmt: skip
    print(json.dumps({"state": str(state), "problems": rows, "left": len(left)}, indent=1))


def add_commands(commands: Any, add: Any, common: Any) -> None:
    """`fsck`, as `--help` shows it."""
    one = add(commands, "fsck", fsck_action, [common])
    one.add_argument(
        "--repair", action="store_true",
        help="mend what can be mended; nothing is deleted, what is rotten moves to lost+found",
    )  # fmt: skip
    one.add_argument("--json", action="store_true", help="for programs")
