"""The targets: functions `bytes -> None` that let through only what the code promises to raise.

Each hands the real code what a stranger could. What it raises beyond AcclimateError's tree, hangs
on, leaves behind or changes elsewhere is a finding.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

Target = Callable[[bytes], None]
MARK = b"\n%%\n"  # between the files of an input that stands for several
TARGETS = {
    "config": "words", "vocabulary": "words", "world": "words",
    "picture": "pictures", "film": "pictures", "frame": "pictures", "entry": "pictures",
    "mcap": "recordings", "bag": "recordings", "message": "recordings",
    "parcel": "adapters", "bundle": "adapters", "signature": "adapters",
    "state": "state", "events": "state",
    "commands": "speech", "said": "speech",
    "weights": "weights",
    "api": "api",
}  # fmt: skip


def target(name: str) -> Target:
    """Imported only now: few need torch or a server."""
    found: Target = getattr(import_module(f"{__name__}.{TARGETS[name]}"), name)
    return found


def parts(data: bytes, names: tuple[str, ...]) -> dict[str, bytes]:
    """The files that an input stands for, by name; an empty one is not there. The last one may
    hold anything."""
    pieces = data.split(MARK, len(names) - 1)
    return {name: piece for name, piece in zip(names, pieces, strict=False) if piece}
