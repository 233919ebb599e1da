"""Where results go: overlay film, label PNGs, the latest overlay for HTTP."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.configs.serving import ServingConfig
from acclimate.configs.vocabulary import Vocabulary
from acclimate.errors import SourceError
from acclimate.runtime.durable import replace_file
from acclimate.runtime.fit import fit
from acclimate.runtime.source import Captured

Image = NDArray[np.uint8]
WIDEST = 1920
Sink = Callable[[Captured, Image, str], None]


def overlay(image: Image, labels: Image, palette: Image, strength: float = 0.55) -> Image:
    """Blend an RGB image (H,W,3) with the colours of its label map (H,W)."""
    colours = palette[np.minimum(labels, len(palette) - 1)]
    blended = cv2.addWeighted(fit(image, labels.shape), 1 - strength, colours, strength, 0)
    return cast("Image", blended)


class OverlayFilm:
    """overlay.mp4: the frame beside its overlay, with the serving adapter's name."""

    def __init__(self, path: Path, palette: Image, fps: float) -> None:
        self._path, self.palette, self._fps = path, palette, fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def __call__(self, frame: Captured, labels: Image, adapter: str) -> None:
        """Append one frame; raises SourceError where no film can be written."""
        picture = self._picture(frame, labels, adapter)
        if self._writer is None:
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._size = (picture.shape[0], picture.shape[1])
            self._writer = cv2.VideoWriter(str(self._path), code, self._fps, self._size[::-1])
            if not self._writer.isOpened():
                raise SourceError(f"cannot write the film {self._path}: is the disk full?")
        self._writer.write(fit(picture, self._size)[:, :, ::-1])  # a film has one size

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()

    def _picture(self, frame: Captured, labels: Image, adapter: str) -> Image:
        painted = overlay(frame.image, labels, self.palette)
        pair = np.hstack([fit(frame.image, labels.shape), painted])
        scale = min(2.0, WIDEST / pair.shape[1])
        size = [
            2 * round(scale * n / 2) for n in (pair.shape[1], pair.shape[0])
        ]  # codecs want even
        how = cv2.INTER_NEAREST if scale == 2 else cv2.INTER_AREA
        big = cv2.resize(pair, size, interpolation=how)
        text = f"{frame.time:6.1f} s  {adapter}"
        cv2.putText(big, text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 3, cv2.LINE_AA)
        white = (255, 255, 255)
        cv2.putText(big, text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, white, 1, cv2.LINE_AA)
        return cast("Image", big)


class LabelFolder:
    """labels/<name or number>.png: class indices."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def __call__(self, frame: Captured, labels: Image, adapter: str) -> None:
        """Write one PNG; raises SourceError."""
        path = self._folder / f"{frame.name or f'{frame.frame_id:06d}'}.png"
        if not cv2.imwrite(str(path), labels):
            raise SourceError(f"cannot write {path}: is the disk full?")


class OverlayFolder:
    """overlays/<name or number>.png: the frame in its classes' colours."""

    def __init__(self, folder: Path, palette: Image) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._palette = folder, palette

    def __call__(self, frame: Captured, labels: Image, adapter: str) -> None:
        """Write one picture; raises SourceError."""
        path = self._folder / f"{frame.name or f'{frame.frame_id:06d}'}.png"
        if not cv2.imwrite(str(path), overlay(frame.image, labels, self._palette)[:, :, ::-1]):
            raise SourceError(f"cannot write {path}: is the disk full?")


class Latest:
    """latest.jpg, the newest overlay, and latest.png, its label map of class indices: replaced at
    most `hz` times a second."""

    def __init__(self, path: Path, palette: Image, hz: float) -> None:
        self._path, self.palette, self._pause = path, palette, 1 / hz
        self._due = 0.0

    def __call__(self, frame: Captured, labels: Image, adapter: str) -> None:
        """Replace the pictures if they are due."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._pause
        picture = overlay(frame.image, labels, self.palette)
        _, jpg = cv2.imencode(".jpg", picture[:, :, ::-1])
        _, png = cv2.imencode(".png", labels)
        replace_file(self._path, jpg.tobytes())  # in the frame loop: no fsync
        replace_file(self._path.with_suffix(".png"), png.tobytes())


class Sinks:
    """All sinks of a camera. One that fails is reported once and tried with the next frame; a film,
    which would have a hole, is switched off. Serving goes on."""

    def __init__(
        self, config: ServingConfig, vocabulary: Vocabulary, state: Path, out: Path | None,
        fps: float, camera: str = "",
    ) -> None:  # fmt: skip
        """`camera` where there are several: latest-CAMERA.jpg, and a folder of its own in `out`."""
        palette = vocabulary.palette
        self._sinks: list[Sink] = []
        self._failing: set[int] = set()
        self._film: OverlayFilm | None = None
        if config.latest_hz:
            latest = state / f"latest{'-' * bool(camera)}{camera}.jpg"
            self._sinks.append(Latest(latest, palette, config.latest_hz))
        if out is not None:
            out = out / camera
            out.mkdir(parents=True, exist_ok=True)
        if out is not None and config.overlay_video:
            self._film = OverlayFilm(out / "overlay.mp4", palette, fps)
            self._sinks.append(self._film)
        if out is not None and config.label_png:
            self._sinks.append(LabelFolder(out / "labels"))

    def write(self, frame: Captured, labels: Image, adapter: str) -> None:
        """Hand one result to every sink."""
        for sink in list(self._sinks):
            try:
                sink(frame, labels, adapter)
            except (OSError, SourceError, cv2.error) as error:
                self._fail(sink, error)
            else:
                self._failing.discard(id(sink))

    def _fail(self, sink: Sink, error: Exception) -> None:
        """A full disk has room again one day: who looks at the latest picture must not see that of
        the day when it had none."""
        told = "switched off" if sink is self._film else "fails, and is tried again"
        if id(sink) not in self._failing:
            print(f"{type(sink).__name__} {told}: {error}", file=sys.stderr, flush=True)
        self._failing.add(id(sink))
        if sink is self._film:
            self._sinks.remove(sink)

    def repaint(self, vocabulary: Vocabulary) -> None:
        """From the next frame on, label maps are of these classes."""
        for sink in self._sinks:
            if isinstance(sink, OverlayFilm | Latest):
                sink.palette = vocabulary.palette

    def close(self) -> None:
        """Finish the files."""
        if self._film is not None:
            self._film.close()
