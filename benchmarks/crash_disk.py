"""A disk that fails on order: every change of a file is counted, and one of them is the last.

    with Disk(folder, Death(at=17, after=True)) as disk: ...   # raises PowerCut at the 17th change

What a process sees is the real folder. Beside it stands what a power cut would leave: only what was
fsynced is sure to be there. Of the rest each folder keeps, in order, as much as chance says (a
rename is whole or not at all), and of a file's unsynced content nothing, the old, a half or all.
Writing `safetensors` is done outside of Python; `seen` lets this disk see it.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import random
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from safetensors.numpy import save

CHANGES = ("create", "write", "mkdir", "rename", "unlink", "rmdir", "fsync", "truncate")
REFUSALS = {
    errno.ENOSPC: {"create", "write", "mkdir", "fsync"},
    errno.EIO: {"write", "fsync"},
    errno.EROFS: {"create", "write", "mkdir", "rename", "unlink", "rmdir", "truncate"},
    errno.EACCES: {"create", "mkdir", "rename", "unlink", "rmdir"},
    errno.EMFILE: {"create", "open"},
}  # what each of them can be the answer to


class PowerCut(BaseException):
    """The process is dead; nothing may catch this."""


@dataclass(frozen=True)
class Death:
    """At the change number `at` (1 is the first): before it, after it, or in the middle of it."""

    at: int
    after: bool = False
    torn: bool = False


@dataclass(frozen=True)
class Refusal:
    """From the change number `at` on, `count` of them that can fail with `number` do."""

    at: int
    number: int
    count: int = 1


Fault = Death | Refusal


@dataclass
class Node:
    """A file (`entries` None) or a folder; `synced` is a file's content that a power cut leaves."""

    entries: dict[str, Node] | None = None
    data: bytes = b""
    synced: bytes | None = None


@dataclass
class Change:
    """`sets` of names in folders, None removes one; `sure` once it was fsynced."""

    sets: list[tuple[Node, str, Node | None]]
    sure: bool = False

    @property
    def folders(self) -> set[int]:
        """The folders it is of."""
        return {id(folder) for folder, _, _ in self.sets}


@dataclass
class Disk:
    """Counts `changes` under `root`, and does what `fault` says to one of them."""

    root: Path
    fault: Fault | None = None
    kinds: list[str] = field(default_factory=list)
    dead: bool = False
    refused: int = 0

    def __post_init__(self) -> None:
        self.root = self.root.resolve()
        self._top = _mirrored(self.root)
        self._before = _names(self._top)
        self._changes: list[Change] = []
        self._stack = ExitStack()

    def __enter__(self) -> Disk:
        real: dict[str, Any] = {name: getattr(os, name) for name in _PATCHED}
        self._real, self._open = real, io.open
        for name in _PATCHED:
            self._stack.enter_context(mock.patch.object(os, name, getattr(self, f"_{name}")))
        for module in (io, builtins):
            self._stack.enter_context(mock.patch.object(module, "open", self._opened))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # ---- what is counted

    def step(
        self, kind: str, act: Callable[[], Any], half: Callable[[], Any] = lambda: None
    ) -> Any:
        """One change, unless it is the one that fails."""
        if self.dead:
            raise PowerCut
        self.kinds.append(kind)
        fault, number = self.fault, len(self.kinds)
        if isinstance(fault, Refusal) and number >= fault.at and self.refused < fault.count:
            self._refuse(fault.number, kind, half)
        if isinstance(fault, Death) and number == fault.at:
            if fault.after and isinstance(done := act(), io.IOBase):
                done.close()
            elif fault.torn:
                half()
            self.dead = True
            raise PowerCut
        return act()

    def _refuse(self, number: int, kind: str, half: Callable[[], Any]) -> None:
        if kind in REFUSALS[number]:
            self.refused += 1
            half()
            raise OSError(number, os.strerror(number))

    def _opened(
        self, file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any
    ) -> Any:  # fmt: skip
        path = self._inside(file)
        if path is None:
            return self._open(file, mode, buffering, *more, **named)
        if not set(mode) & set("wax+"):
            if isinstance(self.fault, Refusal) and self.fault.number == errno.EMFILE:
                self.step("open", lambda: None)
            return self._open(file, mode, buffering, *more, **named)
        fresh = not path.exists()
        plain = mode.replace("b", "").replace("t", "")
        if fresh or "w" in mode:
            raw = self.step("create", lambda: self._created(path, plain, fresh))
        else:
            raw = _Raw(self, path, plain)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *more, **named)

    def _created(self, path: Path, mode: str, fresh: bool) -> _Raw:
        raw = _Raw(self, path, mode)
        if fresh:
            self._set((path, Node()))
        else:
            self._node(path).data = b""
        return raw

    def wrote(self, path: Path) -> None:
        """A file's content is another one now."""
        if (node := self._find(path)) is not None:
            with self._open(path, "rb") as file:
                node.data = file.read()

    def _rename(self, source: Any, target: Any, **_: Any) -> None:
        old, new = self._inside(source), self._inside(target)
        if old is None or new is None:
            self._real["rename"](source, target)
            return

        def act() -> None:
            self._real["rename"](source, target)
            self._set((old, None), (new, self._node(old)))

        self.step("rename", act)

    _replace = _rename

    def _unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._removed("unlink", path, dir_fd)

    _remove = _unlink

    def _rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._removed("rmdir", path, dir_fd)

    def _removed(self, kind: str, path: Any, dir_fd: int | None) -> None:
        inside = self._inside(path, dir_fd)
        if inside is None or not os.path.lexists(inside):
            self._real[kind](path, dir_fd=dir_fd)  # it says itself what is not there
            return

        def act() -> None:
            self._real[kind](path, dir_fd=dir_fd)
            self._set((inside, None))

        self.step(kind, act)

    def _mkdir(self, path: Any, mode: int = 0o777, **named: Any) -> None:
        inside = self._inside(path)
        if inside is None or inside.exists() or not inside.parent.exists():
            self._real["mkdir"](path, mode, **named)
            return

        def act() -> None:
            self._real["mkdir"](path, mode, **named)
            self._set((inside, Node(entries={})))

        self.step("mkdir", act)

    def _fsync(self, handle: int) -> None:
        path = self._inside(Path(f"/proc/self/fd/{handle}").readlink())
        if path is None:
            self._real["fsync"](handle)
            return

        def act() -> None:
            if (node := self._find(path)) is None:
                return
            if node.entries is None:
                node.synced = node.data
            for change in self._changes if node.entries is not None else ():
                change.sure |= id(node) in change.folders

        self.step("fsync", act)

    # ---- what a power cut leaves

    def remains(self, target: Path, chance: random.Random, luck: float) -> Path:
        """Write to `target` what is left after a power cut; unsynced changes of names survive with
        the probability `luck` each, unless one before them did not."""
        kept, entries = self._survivors(chance, luck), {k: dict(v) for k, v in self._before.items()}
        nodes: dict[int, Node] = {}
        for change in kept:
            for folder, name, node in change.sets:
                here = entries.setdefault(id(folder), {})
                here.pop(name, None)
                if node is not None:
                    here[name] = node
                    nodes[id(node)] = node
        self._write_out(self._top, target, entries, chance)
        return target

    def _survivors(self, chance: random.Random, luck: float) -> list[Change]:
        needed: set[int] = set()
        sure = set()
        for change in reversed(self._changes):
            if change.sure or change.folders & needed:
                needed |= change.folders
                sure.add(id(change))
        lost: set[int] = set()
        kept = []
        for change in self._changes:
            if id(change) in sure or (not change.folders & lost and chance.random() < luck):
                kept.append(change)
            else:
                lost |= change.folders
        return kept

    def _write_out(
        self, folder: Node, target: Path, entries: dict[int, dict[str, Node]], chance: random.Random
    ) -> None:
        target.mkdir()
        for name, node in entries.get(id(folder), {}).items():
            if node.entries is not None:
                self._write_out(node, target / name, entries, chance)
                continue
            old, new = node.synced or b"", node.data
            start = len(old) if new.startswith(old) else 0  # what was appended to is not at risk
            half = new[: (start + len(new)) // 2]
            (target / name).write_bytes(chance.choice([old, half, new]))

    # ---- the mirror

    def _inside(self, path: Any, dir_fd: int | None = None) -> Path | None:
        if isinstance(path, int):
            return None
        there = Path(os.fsdecode(path))
        if dir_fd is not None:
            there = Path(f"/proc/self/fd/{dir_fd}").readlink() / there
        there = Path(os.path.abspath(there))  # noqa: PTH100 - a link is removed, not what it names
        return there if there.is_relative_to(self.root) else None

    def _find(self, path: Path) -> Node | None:
        node: Node | None = self._top
        for part in path.relative_to(self.root).parts:
            node = None if node is None or node.entries is None else node.entries.get(part)
        return node

    def _node(self, path: Path) -> Node:
        node = self._find(path)
        assert node is not None, path
        return node

    def _set(self, *named: tuple[Path, Node | None]) -> None:
        sets = [(self._node(path.parent), path.name, node) for path, node in named]
        for folder, name, node in sets:
            assert folder.entries is not None
            folder.entries.pop(name, None)
            if node is not None:
                folder.entries[name] = node
        self._changes.append(Change(sets))


_PATCHED = ("rename", "replace", "unlink", "remove", "rmdir", "mkdir", "fsync")


class _Raw(io.FileIO):
    """A file whose writes are counted; nothing is written by the dead."""

    def __init__(self, disk: Disk, path: Path, mode: str) -> None:
        super().__init__(str(path), mode)
        self._disk, self._path = disk, path

    def write(self, content: Any) -> int:
        if self._disk.dead:
            return len(content)  # what a process had not handed over dies with it
        return int(self._disk.step(
            "write", lambda: self._put(content), lambda: self._put(content[: len(content) // 2])
        ))  # fmt: skip

    def _put(self, content: Any) -> int:
        count = super().write(content)
        self._disk.wrote(self._path)
        return count

    def truncate(self, size: int | None = None) -> int:
        def cut() -> int:
            length = super(_Raw, self).truncate(size)
            self._disk.wrote(self._path)
            return length

        return int(self._disk.step("truncate", cut))


def seen(arrays: Any, path: Any) -> None:
    """`safetensors.numpy.save_file` by a way that a `Disk` can see."""
    Path(path).write_bytes(save(arrays))


def copied(source: Path, target: Path) -> Path:
    """A copy that no disk counts."""
    shutil.copytree(source, target)
    return target


def _mirrored(path: Path) -> Node:
    if path.is_dir():
        return Node(entries={child.name: _mirrored(child) for child in path.iterdir()})
    content = path.read_bytes()
    return Node(data=content, synced=content)


def _names(node: Node) -> dict[int, dict[str, Node]]:
    found = {}
    if node.entries is not None:
        found[id(node)] = dict(node.entries)
        for child in node.entries.values():
            found |= _names(child)
    return found
