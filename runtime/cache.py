"""Engines built from a graph, kept beside it: found again only by all that they depend on.

    STATE/engine/                 the graph (acclimate.runtime.engine)
    STATE/engines/<key>/          engine.json and model.onnx or engine.plan
    STATE/engines/timing-*.cache  what TensorRT measured, for the next build
    STATE/engines/*<key>*         what a library compiled on the device, for the next start

An entry exists whole or not at all, and is never changed but for a parity measured later.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from acclimate import __version__
from acclimate.errors import EngineLoadError, UntrustedBundle
from acclimate.runtime import trust
from acclimate.runtime.durable import commit_folder, fresh_folder, sha256, write_atomic

ONNX, PLAN, RECORD = "model.onnx", "engine.plan", "engine.json"
_DIGEST = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Key:
    """All that a built engine depends on; where one field differs, it is another engine.

    `graph` is the sha256 of the graph's model.onnx, `size` (H, W) in pixels, `capacity` the most
    strings, `device` a GPU's name and compute capability (or "cpu"), `driver` its version (or
    ""), `library` the name and version of what built it.
    """

    graph: str
    base_digest: str
    size: tuple[int, int]
    batch: int
    capacity: int
    precision: str
    engine: str
    device: str
    driver: str
    library: str

    @property
    def digest(self) -> str:
        """16 hex digits: the name of the entry's folder."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Key:
        """From JSON; raises KeyError, TypeError or ValueError."""
        values = {field.name: raw[field.name] for field in fields(cls)}
        height, width = values.pop("size")
        return cls(size=(height, width), **values)


@dataclass(frozen=True)
class Entry:
    """engine.json of a built engine: `files` maps a name to its sha256.

    `parity` is None while nobody has measured it on the device: it must not serve then.
    """

    folder: Path
    key: Key
    files: dict[str, str]
    parity: dict[str, float] | None
    record: dict[str, Any]

    @property
    def path(self) -> Path:
        """What the library loads."""
        return self.folder / (PLAN if PLAN in self.files else ONNX)

    @property
    def megabytes(self) -> float:
        """Size of its files on disk, in 10^6 bytes."""
        return sum((self.folder / name).stat().st_size for name in self.files) / 1e6


def cache_of(graph_folder: Path) -> Path:
    """Where engines built from a graph are kept."""
    return graph_folder.with_name("engines")


def timing_cache(graph_folder: Path, library: str) -> Path:
    """Where a library's measurements are kept; `library` as in `Key`."""
    return cache_of(graph_folder) / f"timing-{library.split()[0]}.cache"


def folders(graph_folder: Path) -> list[Path]:
    """Every entry's folder, sound or not; the torn ones of a build that died are none."""
    root = cache_of(graph_folder)
    found = root.iterdir() if root.is_dir() else ()
    return sorted(path for path in found if path.is_dir() and path.suffix != ".tmp")


def read(folder: Path) -> Entry:
    """An entry, its files not looked at; raises EngineLoadError."""
    try:
        content = (folder / RECORD).read_bytes()
        trust.verify(folder / RECORD, content)
        raw = json.loads(content)
        key, files, parity = Key.read(raw["key"]), dict(raw["files"]), raw["parity"]
        if key.digest != folder.name.removesuffix(".tmp"):
            raise ValueError("its key is of another folder")
        if not {ONNX, PLAN} & files.keys() or any(Path(name).name != name for name in files):
            raise ValueError("its list of files is not of an engine")
        return Entry(folder, key, files, None if parity is None else dict(parity), raw)
    except UntrustedBundle as error:
        raise EngineLoadError(f"{error}; `acclimate engines prune --all` removes it") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineLoadError(
            f"{folder / RECORD} is unreadable ({error!r}); `acclimate engines prune` removes it"
        ) from error


def verify(folder: Path) -> Entry:
    """An entry whose files are what they were when it was written; raises EngineLoadError."""
    entry = read(folder)
    for name, digest in entry.files.items():
        path = folder / name
        if not path.is_file() or sha256(path) != digest:
            raise EngineLoadError(
                f"{path} is missing or was altered; {_remedy(entry.key)} builds it again"
            )
    return entry


def entries(graph_folder: Path) -> list[Entry]:
    """Every entry that can be read, its files not looked at."""
    found = []
    for folder in folders(graph_folder):
        try:
            found.append(read(folder))
        except EngineLoadError:
            continue
    return found


def find(graph_folder: Path, key: Key) -> Path:
    """The verified folder of this engine; raises EngineLoadError saying what differs."""
    folder = cache_of(graph_folder) / key.digest
    if folder.is_dir():
        return verify(folder).folder
    remedy = f"{_remedy(key)} builds it"
    near = [one.key for one in entries(graph_folder) if _kin(one.key, key)]
    if not near:
        raise EngineLoadError(f"{cache_of(graph_folder)} has no {_title(key)}; {remedy}")
    closest = min((differences(one, key) for one in near), key=len)
    told = "; ".join(f"its {name} is {have}, here it is {want}" for name, have, want in closest)
    raise EngineLoadError(f"the {_title(key)} does not fit: {told}; {remedy}")


def differences(have: Key, want: Key) -> list[tuple[str, object, object]]:
    """The fields in which two keys differ: (name, have, want)."""
    pairs = ((f.name, getattr(have, f.name), getattr(want, f.name)) for f in fields(Key))
    return [(name, one, other) for name, one, other in pairs if one != other]


def write(graph_folder: Path, key: Key, build: Callable[[Path], dict[str, Any]]) -> Path:
    """The verified folder of this engine; built only where it is missing or was altered.

    `build` puts the files into the folder it is given and returns the rest of engine.json:
    `parity` (or None), `seconds`, whatever else is worth telling. Whatever it raises goes
    through, and nothing is left of it. Two processes that want the same engine build it once.
    """
    with _alone(cache_of(graph_folder)) as root:
        final, temporary = root / key.digest, root / f"{key.digest}.tmp"
        try:
            return verify(final).folder
        except EngineLoadError:
            pass
        try:
            record = build(fresh_folder(temporary))
            _commit(temporary, key, record)
            shutil.rmtree(final, ignore_errors=True)
            commit_folder(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return final


def set_parity(folder: Path, parity: dict[str, float] | None) -> None:
    """Write down what was measured on the device; None: it must not serve."""
    record = {**read(folder).record, "parity": parity}
    write_atomic(folder / RECORD, _json(record))
    trust.sign(folder / RECORD)


def prune(graph_folder: Path, keep: Collection[str]) -> list[Path]:
    """Remove all that is of other engines than those digests; returns what was removed.

    Also what builds that died left, and what libraries keep beside an engine under its digest.
    """
    with _alone(cache_of(graph_folder)) as root:
        found = {path: _DIGEST.search(path.name) for path in sorted(root.iterdir())}
        gone = [
            path for path, of in found.items()
            if of and (of[0] not in keep or path.suffix == ".tmp")
        ]  # fmt: skip
        for path in gone:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return gone


def _commit(folder: Path, key: Key, record: dict[str, Any]) -> None:
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    known = {"key": asdict(key), "files": files, "acclimate": __version__, "created": time.time()}
    (folder / RECORD).write_bytes(_json({**known, **record}))
    trust.sign(folder / RECORD)


def _json(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, indent=1) + "\n").encode()


def _kin(one: Key, other: Key) -> bool:
    return (one.engine, one.precision) == (other.engine, other.precision)


def _title(key: Key) -> str:
    return f"{key.engine} engine in {key.precision}"


def _remedy(key: Key) -> str:
    return f"`acclimate export --engine {key.engine} --precision {key.precision}`"


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield folder
