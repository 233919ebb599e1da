"""The newest label map in a file that other processes map: no copy on disk, no connection.

    offset  bytes
    0       8      b"acclima1"
    8       8      counter, odd while it is being written (a seqlock)
    16      8      frame id
    24      8      monotonic time of the capture, ns (CLOCK_MONOTONIC)
    32      4, 4   height, width
    40      32     adapter, UTF-8, padded with zeros
    72      H*W    label map, uint8

All numbers are little endian. A reader takes the counter before and after: even and unchanged means
that what lies between is whole. A frame of another size has another file, renamed over the old one.
"""

from __future__ import annotations

import mmap
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acclimate.errors import SourceError
from acclimate.runtime.outputs.side import Shown

MAGIC, HEAD = b"acclima1", struct.Struct("<8sQQQII32s")
COUNTER = struct.Struct("<Q")
TRIES = 100


@dataclass(frozen=True)
class Newest:
    """`labels` (H,W) uint8; `captured_at` monotonic seconds."""

    frame_id: int
    captured_at: float
    adapter: str
    labels: NDArray[np.uint8]


class SharedLabels:
    """CAMERA.labels of every camera."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: dict[str, tuple[tuple[int, ...], mmap.mmap]] = {}

    def write(self, shown: Shown) -> bool:
        """Replace the camera's label map. Raises OSError."""
        shape = shown.labels.shape
        if shown.camera not in self._maps or self._maps[shown.camera][0] != shape:
            self._make(shown.camera, shape)
        area = self._maps[shown.camera][1]
        counter = COUNTER.unpack_from(area, 8)[0] | 1
        COUNTER.pack_into(area, 8, counter)
        stamp, adapter = int(shown.frame.captured_at * 1e9), shown.adapter.encode()[:32]
        HEAD.pack_into(area, 0, MAGIC, counter, shown.frame.frame_id, stamp, *shape, adapter)
        area[HEAD.size :] = shown.labels.tobytes()
        COUNTER.pack_into(area, 8, counter + 1)
        return True

    def close(self) -> None:
        """Remove the files: nobody shall take an old frame for a new one."""
        for camera, (_, area) in self._maps.items():
            area.close()
            (self._folder / f"{camera}.labels").unlink(missing_ok=True)
        self._maps.clear()

    def _make(self, camera: str, shape: tuple[int, ...]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path, size = self._folder / f"{camera}.labels", HEAD.size + shape[0] * shape[1]
        temporary = path.with_suffix(".tmp")
        with temporary.open("w+b") as file:
            file.write(HEAD.pack(MAGIC, 1, 0, 0, *shape, b"").ljust(size, b"\0"))
            file.flush()
            area = mmap.mmap(file.fileno(), size)
        temporary.replace(path)
        if camera in self._maps:
            self._maps.pop(camera)[1].close()
        self._maps[camera] = (shape, area)


def read(path: Path) -> Newest:
    """The newest label map of a camera; raises SourceError where there is none, or none yet."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as area:
            return _whole(path, area)
    except (OSError, ValueError, struct.error) as error:
        raise SourceError(f"{path} holds no label map: {error}; does acclimate run?") from error


def _whole(path: Path, area: mmap.mmap) -> Newest:
    for _ in range(TRIES):
        before = COUNTER.unpack_from(area, 8)[0]
        content = area[:]
        if before % 2 == 0 and COUNTER.unpack_from(area, 8)[0] == before:
            return _parsed(content)
        time.sleep(0.001)
    raise SourceError(f"{path} is being written for ever; was its writer killed?")


def _parsed(content: bytes) -> Newest:
    magic, _, frame, stamp, height, width, adapter = HEAD.unpack_from(content)
    if magic != MAGIC:
        raise ValueError("it is of another kind or version")
    labels = np.frombuffer(content, np.uint8, height * width, HEAD.size).reshape(height, width)
    return Newest(frame, stamp / 1e9, adapter.rstrip(b"\0").decode(errors="replace"), labels)
