"""`segment`: label maps, overlays and areas of an image, a folder or a film."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.source import SourceConfig
from acclimate.configs.vocabulary import Vocabulary
from acclimate.errors import SourceError
from acclimate.runtime import areas
from acclimate.runtime.areas import Areas
from acclimate.runtime.durable import write_atomic
from acclimate.runtime.job import Job
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.picture import legend, save
from acclimate.runtime.predict import Predict, Seen
from acclimate.runtime.progress import Progress
from acclimate.runtime.sinks import LabelFolder, OverlayFilm, OverlayFolder
from acclimate.runtime.source import Captured, open_source
from acclimate.runtime.sources.folder import FolderSource


def segment(job: Job, words: Vocabulary, predict: Predict) -> None:
    """Overlays, label PNGs and areas.json of an image, a folder or a film."""
    out, ledger = Path(job.out), Ledger()
    source = open_source(SourceConfig(url=job.source), (1, 1))
    if source.live:
        raise SourceError(f"{job.source} does not end; segment takes an image, a folder or a film")
    out.mkdir(parents=True, exist_ok=True)
    writer = _Writer(job, words, out, not isinstance(source, FolderSource), source.fps)
    seen_areas, progress = Areas(words.names), Progress("frames")
    try:
        for frame in source.frames(ledger, threading.Event()):
            height, width = frame.image.shape[:2]
            seen = predict(frame.image, (height, width))
            writer(frame, seen)
            which = {"name": writer.name_of(frame), "time": round(frame.time, 3)}
            seen_areas.add(which, seen)
            ledger.serve()
            progress.step()
    finally:
        writer.close()
    if not ledger.served:
        raise SourceError(f"no frame of {job.source} could be read")
    _tell(job, words, out, ledger, seen_areas.report())


class _Writer:
    """Everything that is written for one frame."""

    def __init__(self, job: Job, words: Vocabulary, out: Path, film: bool, fps: float) -> None:
        self._adapter = job.adapter
        self._film = OverlayFilm(out / "overlay.mp4", words.palette, fps) if film else None
        self._paint = self._film or OverlayFolder(out / "overlays", words.palette)
        self._store = LabelFolder(out / "labels")
        self._sure = LabelFolder(out / "confidence") if job.confidence else None
        self._values = values_of(words) if job.label_ids == "dataset" else None

    def __call__(self, frame: Captured, seen: Seen) -> None:
        labels = seen.labels if self._values is None else self._values[seen.labels]
        self._store(frame, labels, self._adapter)
        self._paint(frame, seen.labels.astype(np.uint8), self._adapter)
        if self._sure is not None:
            shades = np.rint(255 * seen.probability).astype(np.uint8)
            self._sure(frame, shades, self._adapter)

    @staticmethod
    def name_of(frame: Captured) -> str:
        """What the frame's files are called."""
        return frame.name or f"{frame.frame_id:06d}"

    def close(self) -> None:
        """Finish the film."""
        if self._film is not None:
            self._film.close()


def values_of(words: Vocabulary) -> NDArray[Any]:
    """The data set's value of each class, in the smallest type that holds them all."""
    values = words.labels
    return values.astype(np.uint8) if values.max() <= 255 else values


def _tell(job: Job, words: Vocabulary, out: Path, ledger: Ledger, found: dict[str, Any]) -> None:
    colours = [{"name": c.name, "color": list(c.color)} for c in words.classes]
    story = {"source": job.source, "adapter": job.adapter, "protocol": job.protocol,
             "label_ids": job.label_ids, "classes": colours}  # fmt: skip
    text = json.dumps(story | found, indent=1)
    write_atomic(out / "areas.json", (text + "\n").encode())
    save(out / "legend.png", legend(words.names, words.palette))
    unreadable = f", {n} unreadable" if (n := ledger.dropped["unreadable"]) else ""
    print(areas.table_of(found["overall"]))
    frames = "1 frame" if ledger.served == 1 else f"{ledger.served} frames"
    print(f"{frames}{unreadable}: label maps and overlays are in {out}")
