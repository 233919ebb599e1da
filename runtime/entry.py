"""One frame of the buffer as a file: a `.npz` named SEQUENCE-HASH, read without OpenCV.

`acclimate.runtime.vault` encrypts it as a whole where a key is configured.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

ROT = (
    ValueError, LookupError, TypeError, AttributeError, EOFError, RuntimeError,
    zipfile.BadZipFile, zlib.error, MemoryError,
)  # fmt: skip


def sequence_of(path: Path) -> int:
    """When it was stored; raises one of `ROT` for a name that is none."""
    return int(path.stem.split("-")[0])


def share_of(path: Path) -> float:
    """0..1 by its hash, to hold out a share of them; raises one of `ROT`."""
    return int(path.stem.split("-")[1][:8], 16) / 0xFFFFFFFF


def signals(content: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32], str]:
    """Class shares, embedding and camera of an entry ("" where it was not kept), after a look at
    all of its checksums; raises one of `ROT`."""
    with stored_in(content) as stored:
        stored["png"]
        histogram, embedding = stored["histogram"], stored["embedding"]
        camera = str(stored["camera"]) if "camera" in stored else ""
    for one in (histogram, embedding):
        if one.dtype.kind != "f" or one.ndim != 1 or not np.isfinite(one).all():
            raise ValueError("its class shares or embedding are no finite numbers")
    return histogram, embedding, camera


def stored_in(content: bytes) -> NpzFile:
    """The arrays of an entry; raises one of `ROT`. Entries are not compressed: one that is would
    be larger in memory than any bound of the buffer says."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
            raise ValueError("it is compressed, which no entry is")
    stored: NpzFile = np.load(io.BytesIO(content), allow_pickle=False)
    return stored
