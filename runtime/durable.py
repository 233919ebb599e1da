"""Files that survive a power cut: either the old content or the new, never half of it."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, fsynced; raises OSError.

    On failure a file that is new is not there, and an old one stays as it was; only where the
    folder cannot be fsynced after the rename does the new content stand in the old one's place.
    """
    temporary, fresh = path.with_name(path.name + ".tmp"), not path.exists()
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError:
        for left in (temporary, path) if fresh else (temporary,):
            left.unlink(missing_ok=True)
        raise


def commit_folder(temporary: Path, final: Path) -> None:
    """fsync everything in `temporary`, then rename it to `final` (which must not exist)."""
    for path in [*temporary.rglob("*"), temporary]:
        sync(path)
    temporary.rename(final)
    sync(final.parent)


def fresh_folder(path: Path) -> Path:
    """An empty folder; what a torn earlier attempt left there is removed."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def sync(path: Path) -> None:
    """fsync a file or a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
