"""The frames worth learning from, on disk: bounded, novel, balanced, durable.

One `.npz` an entry, named SEQUENCE-HASH: the frame as PNG, its class shares, its embedding.
A file exists whole or not at all; one that is corrupt is removed and counted. With a key each is
encrypted (`acclimate.runtime.vault`); one that is too old goes (`acclimate.runtime.retention`).
"""

from __future__ import annotations

import contextlib
import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.configs.schema import BufferConfig
from acclimate.errors import SourceError
from acclimate.runtime.durable import make_folder, write_atomic
from acclimate.runtime.entry import ROT, sequence_of, share_of, signals, stored_in
from acclimate.runtime.keys import replace_secret
from acclimate.runtime.pixels import check_encoded
from acclimate.runtime.retention import expire, frames
from acclimate.runtime.vault import PLAIN, SEALED, Vault

RECENT = 64
LOOK_EVERY = 60.0  # seconds between two looks for what is too old


@dataclass(frozen=True)
class Entry:
    """One stored frame; `histogram` (T,) class shares, `embedding` (D,) float32; `camera` by its
    name, "" where nobody knows."""

    path: Path
    sequence: int
    heldout: bool
    histogram: NDArray[np.float32]
    embedding: NDArray[np.float32]
    bytes: int
    camera: str = ""


class FrameBuffer:
    """Admits by novelty, holds out by hash, evicts what its classes have most of."""

    def __init__(self, folder: Path, config: BufferConfig, reader: bool = False) -> None:
        """Open or create; torn and corrupt entries are removed and counted in `removed`. One that
        the system does not let us read now is left for the next time.

        A `reader` looks at a buffer that another process writes: it removes nothing, and what it
        lists may be gone when it is loaded. `locked` says why frames can neither be read nor
        written, if so (a wrong key): then none is removed either, but for its age.
        """
        self.folder, self.config, self._reader = folder, config, reader
        self.offered = self.admitted = self.removed = self.expired = 0
        self.entries: list[Entry] = []
        self._vault, self._looked = Vault(config.key_file), 0.0
        with contextlib.suppress(OSError):  # `offer` says so: serving needs no buffer
            make_folder(folder)
        for torn in () if reader else folder.glob("*.tmp"):
            _remove(torn)
        self.locked = self._vault.locked_out(folder)
        if not reader:
            self.forget_old()
        if not reader and self.locked is None:
            with contextlib.suppress(OSError):  # a full disk: they stay plain until the next start
                self._vault.seal_all(folder)
        paths = [] if self.locked else [*folder.glob(f"*{PLAIN}"), *folder.glob(f"*{SEALED}")]
        found = (self._read(path) for path in sorted(paths))
        self.entries = [entry for entry in found if entry is not None]
        if not reader:
            with contextlib.suppress(OSError):
                self._evict()
        self._next = 1 + max((entry.sequence for entry in self.entries), default=0)

    @property
    def bytes(self) -> int:
        """Size of all entries on disk."""
        return sum(entry.bytes for entry in self.entries)

    def offer(
        self, frame: NDArray[np.uint8], histogram: NDArray[np.float32],
        embedding: NDArray[np.float32], camera: str = "",
    ) -> bool:  # fmt: skip
        """Keep the frame if it is new enough; raises OSError when the disk refuses, SourceError
        while the buffer is locked."""
        self.offered += 1
        self.forget_old()
        if self.locked is not None:
            raise SourceError(self.locked)
        self._forget_others(embedding)
        if self._distance(embedding) < self.config.novelty:
            return False
        self._evict()  # what could not be removed before is no reason to grow
        make_folder(self.folder)
        digest = self._vault.digest(frame.tobytes())
        path = self.folder / f"{self._next:010d}-{digest[:16]}{self._vault.suffix}"
        content = self._vault.close(path.name, _encode(frame, histogram, embedding, camera))
        write_atomic(path, content)
        heldout = self._is_heldout(path)
        size = len(content)
        self.entries.append(
            Entry(path, self._next, heldout, histogram, embedding, size, camera)
        )  # fmt: skip
        self._next += 1
        self.admitted += 1
        self._evict()
        return True

    def training(self, newest: int) -> list[Entry]:
        """The newest entries a round may learn from."""
        return [entry for entry in self.entries if not entry.heldout][-newest:]

    def heldout(self, newest: int) -> list[Entry]:
        """The newest entries a round is judged on; never trained on."""
        return [entry for entry in self.entries if entry.heldout][-newest:]

    def load(self, entry: Entry) -> NDArray[np.uint8]:
        """The frame (H,W,3) RGB; raises SourceError if the file went bad."""
        try:
            content = self._vault.open(entry.path.name, entry.path.read_bytes())
            with stored_in(content) as stored:
                png = stored["png"]
            check_encoded(f"buffered frame {entry.path}", png.tobytes())
            frame = cv2.imdecode(png, cv2.IMREAD_COLOR)
        except (OSError, *ROT, cv2.error) as error:
            raise SourceError(f"buffered frame {entry.path} is unreadable: {error}") from error
        if frame is None:
            raise SourceError(f"buffered frame {entry.path} holds no image")
        return cast("NDArray[np.uint8]", cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))

    def forget_old(self) -> None:
        """Remove what is too old, at most once a minute; a disk that refuses is asked again."""
        if not (hours := self.config.max_age_hours):
            return
        if self._looked and time.monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = time.monotonic()
        with contextlib.suppress(OSError):
            self.expired += self.purge(hours)

    def purge(self, hours: float) -> int:
        """Remove frames older than that (0: all) whatever their key; returns how many. Raises
        OSError."""
        gone = set(expire(frames(self.folder), hours))
        self.entries = [entry for entry in self.entries if entry.path not in gone]
        return len(gone)

    def forget_key(self) -> None:
        """Another key in the file of this one, which nothing can be read with any more. Raises
        OSError, and then it is still the old one."""
        if self.config.key_file is not None:
            replace_secret(Path(self.config.key_file))
            self._vault, self.locked = Vault(self.config.key_file), None

    def _distance(self, embedding: NDArray[np.float32]) -> float:
        recent = self.entries[-RECENT:]
        if not recent:
            return 2.0
        stored = np.stack([entry.embedding for entry in recent])
        return float(1 - (stored @ embedding).max())

    def _forget_others(self, embedding: NDArray[np.float32]) -> None:
        """Entries of another base have no place beside this one."""
        for entry in [e for e in self.entries if e.embedding.shape != embedding.shape]:
            entry.path.unlink(missing_ok=True)
            self.entries.remove(entry)
            self.removed += 1

    def _is_heldout(self, path: Path) -> bool:
        return share_of(path) < self.config.heldout_share

    def _evict(self) -> None:
        limit = self.config.max_mb * 2**20
        while len(self.entries) > self.config.max_entries or self.bytes > limit:
            victim = self._most_redundant()
            victim.path.unlink(missing_ok=True)
            self.entries.remove(victim)

    def _most_redundant(self) -> Entry:
        """Among the older half, the frame whose classes the buffer has most of; before it, the
        oldest of those whose shares are of another number of classes: other words served then."""
        classes = self.entries[-1].histogram.shape
        foreign = [e for e in self.entries if e.histogram.shape != classes]
        if foreign:
            return foreign[0]
        old = self.entries[: max(1, len(self.entries) // 2)]
        mean = np.mean([entry.histogram > 0.001 for entry in self.entries], 0)
        rarity = [float(((e.histogram > 0.001) / np.maximum(mean, 1e-6)).sum()) for e in old]
        return old[int(np.argmin(rarity))]

    def _read(self, path: Path) -> Entry | None:
        try:
            content = path.read_bytes()
        except OSError:  # too many open files, a failing disk: nothing that the entry did
            return None
        try:
            sequence, heldout = sequence_of(path), self._is_heldout(path)
            histogram, embedding, camera = signals(self._vault.open(path.name, content))
        except SourceError:  # another key: nothing that the entry did either
            return None
        except ROT:
            if not self._reader:
                _remove(path)
            self.removed += 1
            return None
        return Entry(path, sequence, heldout, histogram, embedding, len(content), camera)


def _remove(path: Path) -> None:
    """Unless the disk is read-only: nothing that should keep a daemon from starting."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _encode(
    frame: NDArray[np.uint8], histogram: NDArray[np.float32], embedding: NDArray[np.float32],
    camera: str,
) -> bytes:  # fmt: skip
    _, png = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    file = io.BytesIO()
    np.savez(
        file, png=png, histogram=histogram, embedding=embedding, time=np.array(time.time()),
        camera=np.array(camera),
    )  # fmt: skip
    return file.getvalue()
