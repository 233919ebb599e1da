"""The frames worth learning from, on disk: bounded, novel, balanced, durable.

One `.npz` an entry, named SEQUENCE-HASH: the frame as PNG, its class shares, its embedding.
A file exists whole or not at all; one that is corrupt is removed and counted.
"""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.configs.schema import BufferConfig
from acclimate.errors import SourceError
from acclimate.runtime.durable import write_atomic

RECENT = 64
_ROT = (
    ValueError, LookupError, TypeError, AttributeError, EOFError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One stored frame; `histogram` (T,) class shares, `embedding` (D,) float32."""

    path: Path
    sequence: int
    heldout: bool
    histogram: NDArray[np.float32]
    embedding: NDArray[np.float32]
    bytes: int


class FrameBuffer:
    """Admits by novelty, holds out by hash, evicts what its classes have most of."""

    def __init__(self, folder: Path, config: BufferConfig, reader: bool = False) -> None:
        """Open or create; torn and corrupt entries are removed and counted in `removed`. One that
        the system does not let us read now is left for the next time.

        A `reader` looks at a buffer that another process writes: it removes nothing, and what it
        lists may be gone when it is loaded.
        """
        self.folder, self.config, self._reader = folder, config, reader
        self.offered = self.admitted = self.removed = 0
        folder.mkdir(parents=True, exist_ok=True)
        for torn in () if reader else folder.glob("*.tmp"):
            torn.unlink()
        found = (self._read(path) for path in sorted(folder.glob("*.npz")))
        self.entries = [entry for entry in found if entry is not None]
        self._next = 1 + max((entry.sequence for entry in self.entries), default=0)

    @property
    def bytes(self) -> int:
        """Size of all entries on disk."""
        return sum(entry.bytes for entry in self.entries)

    def offer(
        self, frame: NDArray[np.uint8], histogram: NDArray[np.float32],
        embedding: NDArray[np.float32],
    ) -> bool:  # fmt: skip
        """Keep the frame if it is new enough; raises OSError when the disk refuses."""
        self.offered += 1
        self._forget_others(embedding)
        if self._distance(embedding) < self.config.novelty:
            return False
        digest = hashlib.sha256(frame.tobytes()).hexdigest()
        path = self.folder / f"{self._next:010d}-{digest[:16]}.npz"
        write_atomic(path, _encode(frame, histogram, embedding))
        size = path.stat().st_size
        heldout = self._is_heldout(path)
        self.entries.append(Entry(path, self._next, heldout, histogram, embedding, size))
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
            with entry.path.open("rb") as file, np.load(file) as stored:
                frame = cv2.imdecode(stored["png"], cv2.IMREAD_COLOR)
        except (OSError, *_ROT, cv2.error) as error:
            raise SourceError(f"buffered frame {entry.path} is unreadable: {error}") from error
        if frame is None:
            raise SourceError(f"buffered frame {entry.path} holds no image")
        return cast("NDArray[np.uint8]", cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))

    def _distance(self, embedding: NDArray[np.float32]) -> float:
        recent = self.entries[-RECENT:]
        if not recent:
            return 2.0
        stored = np.stack([entry.embedding for entry in recent])
        return float(1 - (stored @ embedding).max())

    def _forget_others(self, embedding: NDArray[np.float32]) -> None:
        """Entries of another base have no place beside this one."""
        for entry in [e for e in self.entries if e.embedding.shape != embedding.shape]:
            self.entries.remove(entry)
            entry.path.unlink(missing_ok=True)
            self.removed += 1

    def _is_heldout(self, path: Path) -> bool:
        share = int(path.stem.split("-")[1][:8], 16) / 0xFFFFFFFF
        return share < self.config.heldout_share

    def _evict(self) -> None:
        limit = self.config.max_mb * 2**20
        while len(self.entries) > self.config.max_entries or self.bytes > limit:
            victim = self._most_redundant()
            self.entries.remove(victim)
            victim.path.unlink(missing_ok=True)

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
            sequence, heldout = int(path.stem.split("-")[0]), self._is_heldout(path)
            histogram, embedding = _signals(content)
        except _ROT:
            if not self._reader:
                path.unlink(missing_ok=True)
            self.removed += 1
            return None
        return Entry(path, sequence, heldout, histogram, embedding, len(content))


def _signals(content: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Class shares and embedding of an entry, after a look at all of its checksums."""
    with np.load(io.BytesIO(content)) as stored:
        stored["png"]
        return stored["histogram"], stored["embedding"]


def _encode(
    frame: NDArray[np.uint8], histogram: NDArray[np.float32], embedding: NDArray[np.float32]
) -> bytes:
    _, png = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    file = io.BytesIO()
    np.savez(file, png=png, histogram=histogram, embedding=embedding, time=np.array(time.time()))
    return file.getvalue()
