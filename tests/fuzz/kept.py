"""Where inputs are kept, each under its digest. Light: what is imported before a target is not seen
by the fuzzer."""

from __future__ import annotations

import hashlib
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")


def keep(folder: Path, content: bytes) -> Path:
    """An input in a corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(content).hexdigest()[:16]
    path.write_bytes(content)
    return path
