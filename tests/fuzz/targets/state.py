"""A state folder after whatever happened to it."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

from acclimate.daemon.events import append, read
from acclimate.daemon.fsck import Folder
from acclimate.daemon.journal import history
from acclimate.daemon.registry import BASE, Registry
from acclimate.daemon.status import dated
from acclimate.errors import CorruptBundle
from tests.fuzz.room import room
from tests.fuzz.targets import parts
from tests.fuzz.targets.adapters import device, vouched

FILES = (
    "state.json", "events.jsonl", "events.older.jsonl", "adapters/a0001/manifest.json",
    "adapters/a0002/manifest.json", "words/0123456789abcdef/base/manifest.json",
    "learned/manifest.json", "vocabularies/0123456789abcdef.yaml", "config.json",
    "engine/engine.json", "buffer/0000000001-00ff00ff00ff00ff.npz",
)  # fmt: skip


def state(data: bytes) -> None:
    """Opened as a daemon opens it; examined; mended, and then nothing is left to mend."""
    with room() as folder:
        device(folder)
        files = parts(data, FILES)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            whole = name.endswith("/manifest.json")
            (folder / name).write_bytes(vouched(content, {}) if whole else content)
        before = contents(folder)
        with contextlib.suppress(CorruptBundle):
            live_with(Registry(folder))
        list(Folder(folder).problems())
        assert contents(folder) == before, "looking changed something"
        Folder(folder).repair()
        left = [one for one in Folder(folder).problems() if one.mend is not None]
        assert not left, f"after its repair there is {left}"
        lost = before - contents(folder)
        assert not lost, f"gone is {list(lost)!r:.200}"
        registry = Registry(folder)
        live_with(registry)
        registry.next_name()
        registry.activate(BASE)


def live_with(registry: Registry) -> None:
    """What a daemon asks of it before and while it serves."""
    truth = registry.state
    for name in [*registry.names(), truth.active, *truth.good, *truth.quarantined]:
        registry.word_for(name), registry.may_serve(name), registry.shares(name)
        registry.condition(name), registry.card(name)
        assert registry.folder_of(name).resolve().is_relative_to(registry.folder.resolve())
    registry.way_back()
    assert truth.sequence + 1 > truth.sequence


def contents(folder: Path) -> Counter[bytes]:
    """Every file's."""
    return Counter(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def events(data: bytes) -> None:
    """An event log: read, told to people, and written on."""
    with room() as folder:
        log = folder / "events.jsonl"
        log.write_bytes(data)
        rows, _ = read(log)
        assert all(isinstance(dated(row), str) for row in rows)
        list(history(log))
        append(log, {"event": "started", "t": 0.0, "time": 1.0})
        after, _ = read(log)
        assert after[-1]["event"] == "started"
        assert after[: len(rows)] == rows or data[-1:] != b"\n"
