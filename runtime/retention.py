"""Frames of the road that are older than they may be: in the buffer, and kept in bundles.

Age is a file's own (mtime). Nothing is overwritten: on flash the old blocks stay wherever the
controller left them; who needs more than `unlink` encrypts and destroys the key.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from acclimate.runtime.bundle import MEMORY

HOUR = 3600.0
LOST = "lost+found"  # where `acclimate fsck` puts what is rotten
SLACK = 60.0  # file systems and clocks that are set while we look


def expire(paths: Iterable[Path], hours: float) -> list[Path]:
    """Remove what is older than that (0: everything); returns what was removed.

    What comes from the future was written before the clock jumped back: it begins to age now.
    """
    now, gone = time.time(), []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            made = path.stat().st_mtime
            if made > now + SLACK:
                os.utime(path)
                made = now
            if not hours or now - made > hours * HOUR:
                path.unlink()
                gone.append(path)
    return gone


def frames(buffer: Path) -> list[Path]:
    """Every file of a buffer folder that holds a frame, torn ones too."""
    return sorted([*buffer.glob("*.npz*"), *buffer.glob("*.sealed*")])


def pictures(state: Path) -> list[Path]:
    """The newest overlay and label map of every camera."""
    return sorted([*state.glob("latest*.jpg"), *state.glob("latest*.png")])


def memories(state: Path) -> list[Path]:
    """Every bundle's kept frames in a state folder: adapters, their copies with other words, what
    the last round learned, the candidate of the one under way; and those that rotted."""
    places = ("adapters/*", "words/*/*", "learned", "candidates/*")
    roots = (state, state / LOST)
    return sorted(p for root in roots for one in places for p in root.glob(f"{one}/{MEMORY}*"))
