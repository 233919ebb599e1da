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


def replace_file(path: Path, content: bytes) -> None:
    """Replace `path` by `content` for who reads it now, without waiting for the disk: a power cut
    may cost it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def commit_folder(temporary: Path, final: Path) -> None:
    """fsync everything in `temporary`, then rename it to `final` (which must not exist)."""
    for path in [*temporary.rglob("*"), temporary]:
        sync(path)
    temporary.rename(final)
    sync(final.parent)


def fresh_folder(path: Path) -> Path:
    """An empty folder; what a torn earlier attempt left there is removed. Folders above it are
    there for good."""
    shutil.rmtree(path, ignore_errors=True)
    make_folder(path.parent)
    path.mkdir()
    return path


def make_folder(path: Path) -> None:
    """Make `path` and what is missing above it, each fsynced in the folder that it lies in."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder: what a crash leaves of it has another name (`<name>.tmp`)."""
    doomed = path.with_name(path.name + ".tmp")
    if doomed.exists() or doomed.is_symlink():
        _remove(doomed)
    path.rename(doomed)
    sync(path.parent)  # else a power cut may undo the new name and not what is removed under it
    _remove(doomed)


def _remove(path: Path) -> None:
    """A folder, or in its place a link, and then not what that points to."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path)


def sync(path: Path) -> None:
    """fsync a file or a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
