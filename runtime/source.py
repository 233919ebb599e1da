"""Where frames come from: the driving world, a film, a folder of images, a camera."""

from __future__ import annotations

import glob
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.configs.schema import SourceConfig
from acclimate.errors import SourceError
from acclimate.runtime.datasets import SUFFIXES
from acclimate.runtime.evaluate import read_image
from acclimate.runtime.ledger import Ledger
from acclimate.world import Drive, WorldSpec, parse_spec

FILMS = {".mp4", ".avi", ".mkv", ".mov", ".webm"}


@dataclass(frozen=True)
class Captured:
    """One frame (H,W,3) RGB; `captured_at` monotonic seconds, `time` seconds into the source.

    `name` is what its files are called: an image's own stem, else empty.
    """

    frame_id: int
    captured_at: float
    time: float
    image: NDArray[np.uint8]
    name: str = ""


class Source(Protocol):
    """A stream of frames. `state` is connecting, live, stale, failed or ended."""

    live: bool
    state: str
    fps: float

    def frames(self, ledger: Ledger, stop: threading.Event) -> Iterator[Captured]:
        """Every frame, counted as captured before it is handed out."""


def open_source(config: SourceConfig, size: tuple[int, int]) -> Source:
    """The source that `config.url` names; raises SourceError naming what is wrong with it."""
    url = config.url
    if url.startswith("world:"):
        try:
            return WorldSource(parse_spec(url), size)
        except ValueError as error:
            raise SourceError(f"source {url!r}: {error}") from error
    if re.match(r"(rtsps?|https?)://", url) or re.fullmatch(r"\d+|/dev/video\d+", url):
        return CameraSource(url, config)
    path = Path(url)
    if url and path.is_dir():
        return FolderSource(path)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return FolderSource(path.parent, glob.escape(path.name))
    if path.is_file() and path.suffix.lower() in FILMS:
        return FilmSource(path)
    raise SourceError(
        f"source {url!r} is no image, no folder of images, no film ({', '.join(sorted(FILMS))}), "
        "no rtsp:// address, no camera number and no world:"
    )


class WorldSource:
    """The procedural world, paced like a camera at its frame rate."""

    live = True

    def __init__(self, spec: WorldSpec, size: tuple[int, int]) -> None:
        self.spec, self.state, self.fps = spec, "connecting", spec.fps
        self._drive = Drive(spec.seed, spec.size or size, spec.hood, spec.fps)

    def frames(self, ledger: Ledger, stop: threading.Event) -> Iterator[Captured]:
        """Frames at `spec.fps`; a frame that cannot be rendered in time comes late."""
        start, index = time.monotonic(), 0
        self.state = "live"
        while not stop.is_set() and index != self.spec.frames:
            seconds = index / self.spec.fps
            stop.wait(start + seconds - time.monotonic())
            image, _ = self._drive.frame(index, self.spec.shift_at(seconds))
            ledger.capture()
            yield Captured(index, time.monotonic(), seconds, image)
            index += 1
        self.state = "ended"


class FolderSource:
    """The images of a folder in the order of their names; unreadable ones are dropped."""

    live, fps = False, 5.0

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
            except SourceError:
                ledger.drop("unreadable")
                continue
            name = path.stem if stems[path.stem] == 1 else path.name
            yield Captured(index, time.monotonic(), index / self.fps, image, name)
        self.state = "ended"


class FilmSource:
    """Every frame of a film, as fast as they are served."""

    live = False

    def __init__(self, path: Path) -> None:
        self.state = "connecting"
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise SourceError(f"film {path} cannot be decoded; try it with another player")
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or 25.0

    def frames(self, ledger: Ledger, stop: threading.Event) -> Iterator[Captured]:
        """Frames until the film ends."""
        self.state, index = "live", 0
        while not stop.is_set():
            read, image = self._capture.read()
            if not read:
                break
            ledger.capture()
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            yield Captured(index, time.monotonic(), index / self.fps, np.asarray(rgb, np.uint8))
            index += 1
        self._capture.release()
        self.state = "ended"


class CameraSource:
    """An RTSP, HTTP or USB camera; reconnects for ever, doubling the pause up to 30 s."""

    live, fps = True, 25.0

    def __init__(self, url: str, config: SourceConfig) -> None:
        self.state = "connecting"
        self._url, self._config = url, config

    def frames(self, ledger: Ledger, stop: threading.Event) -> Iterator[Captured]:
        """Frames while there are any; silence makes it stale, then it reconnects."""
        start, index, pause = time.monotonic(), 0, self._config.reconnect_seconds
        while not stop.is_set():
            capture = self._open()
            while capture.isOpened() and not stop.is_set():
                read, image = capture.read()
                if not read:
                    break
                self.state, pause = "live", self._config.reconnect_seconds
                ledger.capture()
                now = time.monotonic()
                rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
                yield Captured(index, now, now - start, rgb)
                index += 1
            capture.release()
            self.state = "stale" if index else "failed"
            stop.wait(pause)
            pause = min(2 * pause, 30.0)
        self.state = "ended"

    def _open(self) -> cv2.VideoCapture:
        if self._url.isdigit():
            return cv2.VideoCapture(int(self._url))
        silence = int(1000 * self._config.stale_seconds)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, silence, cv2.CAP_PROP_READ_TIMEOUT_MSEC, silence]
        if "://" in self._url:
            return cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, limits)
        return cv2.VideoCapture(self._url)
