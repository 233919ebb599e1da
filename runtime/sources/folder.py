"""The images of a folder."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from acclimate.errors import SourceError
from acclimate.runtime.datasets import SUFFIXES
from acclimate.runtime.evaluate import read_image
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.sources.captured import Captured


class FolderSource:
    """The images of a folder in the order of their names; unreadable ones are dropped."""

    live, fps, reason = False, 5.0, ""

    def __init__(self, folder: Path, pattern: str = "*") -> None:
        self.state = "connecting"
        self._paths = sorted(p for p in folder.glob(pattern) if p.suffix.lower() in SUFFIXES)
        if not self._paths:
            raise SourceError(f"folder {folder} holds no {', '.join(sorted(SUFFIXES))} images")

    def frames(self, ledger: Ledger, stop: threading.Event) -> Iterator[Captured]:
        """Every readable image, as if `fps` of them made a second."""
        self.state = "live"
        stems = Counter(path.stem for path in self._paths)
        for index, path in enumerate(self._paths):
            if stop.is_set():
                break
            ledger.capture()
            try:
                image = read_image(path)
            except SourceError as error:
                self.reason = str(error)
                ledger.drop("unreadable")
                continue
            name = path.stem if stems[path.stem] == 1 else path.name
            yield Captured(index, time.monotonic(), index / self.fps, image, name)
        self.state = "ended"
