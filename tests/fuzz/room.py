"""A folder that what is tried may not leave.

Python tells of every file it opens, renames or removes, and of programs and connections: what is
not below the folder is refused and is a finding. So are files that are left half-written, and
pickles.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# events of sys.addaudithook: which of their arguments are paths that change, and the folders that
# these are relative to
CHANGES = {
    "os.mkdir": ((0, 2),), "os.remove": ((0, 1),), "os.rmdir": ((0, 1),), "os.symlink": ((1, 2),),
    "os.rename": ((0, 2), (1, 3)), "os.link": ((0, 2), (1, 3)), "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),), "os.chown": ((0, 3),), "os.utime": ((0, 3),),
}  # fmt: skip
NEVER = {
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect",
    "pickle.find_class",
}  # fmt: skip


class Finding(AssertionError):  # noqa: N818 - no error of ours
    """Something that must not happen, whatever the input."""


_root: Path | None = None
_found: list[str] = []


@contextmanager
def room() -> Iterator[Path]:
    """An empty folder; raises Finding for what was done outside of it, or left behind."""
    global _root
    with tempfile.TemporaryDirectory(dir=_memory()) as name:
        root, before = Path(os.path.realpath(name)), tempfile.tempdir
        (root / "in").mkdir()
        (root / "tmp").mkdir()
        (root / "secret").write_text("nobody was asked to read this")
        _found.clear()
        tempfile.tempdir, _root = str(root / "tmp"), root
        try:
            yield root / "in"
        finally:
            tempfile.tempdir, _root = before, None
        if told := [*_found, *_left(root)]:
            raise Finding("; ".join(told))


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _left(root: Path) -> list[str]:
    strange = {path.name for path in root.iterdir()} ^ {"in", "tmp", "secret"}
    torn = [*(root / "tmp").iterdir(), *(root / "in").rglob("*.tmp")]
    return [f"{path} was left" for path in [*sorted(strange), *torn]]


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _root is None:
        return
    if event in NEVER:
        _refuse(f"{event} {arguments!r:.200}")
    for path, folder in CHANGES.get(event, ()):
        _look(event, _place(arguments[path], -1 if folder is None else arguments[folder]))
    if event == "open" and arguments[2] & WRITING:
        _look(event, _place(arguments[0]))
    elif event == "open" and _place(arguments[0]) == str(_root / "secret"):
        _refuse(f"{arguments[0]!r} was read")


def _look(event: str, place: str) -> None:
    inside = any(f"{place}/".startswith(f"{_root}/{one}/") for one in ("in", "tmp"))
    if not inside and "/__pycache__" not in place and place not in ("", "/dev/null"):
        _refuse(f"{event} of {place}")


def _place(path: object, folder: int = -1) -> str:
    """Where a path leads, from an open folder if there is one; "" for what was opened before."""
    if not isinstance(path, str | bytes | os.PathLike):
        return ""
    above = Path() if folder == -1 else Path(f"/proc/self/fd/{folder}")
    return os.path.realpath(above / os.fsdecode(path))


def _refuse(what: str) -> None:
    _found.append(what)
    raise Finding(what)


sys.addaudithook(_hear)
