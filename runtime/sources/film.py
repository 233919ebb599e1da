"""A film, frame by frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import av.error
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from acclimate.errors import SourceError
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.sources.captured import Captured
from acclimate.runtime.sources.decoding import ODD_TEXT, fps_of, open_decoder, shots, video_of


class FilmSource:
    """Every frame of a film, as fast as they are served."""

    live = False

    def __init__(self, path: Path, hardware: bool = True) -> None:
        self.state, self._path = "connecting", path
        try:
            self._film, self.reason = open_decoder(self._open, hardware)
            self.fps = fps_of(self._film, 25.0)
        except (av.error.FFmpegError, SourceError) as error:
            raise SourceError(
                f"film {path} cannot be decoded ({error}); try it with another player"
            ) from error
        video_of(self._film).thread_type = "AUTO"

    def _open(self, device: HWAccel | None) -> InputContainer:
        # a file that calls itself a film may be a list of addresses: none of them is visited
        options = {"protocol_whitelist": "file"}
        return av.open(
            f"file:{self._path}", options=options, hwaccel=device, metadata_errors=ODD_TEXT
        )

    def frames(self, ledger: Ledger, stop: threading.Event) -> Iterator[Captured]:
        """Frames until the film ends, or to the place where it cannot be read on."""
        self.state, index, first = "live", 0, None
        stream = video_of(self._film)
        try:
            for shot in shots(stream, self._film.demux(stream)):
                if stop.is_set():
                    break
                ledger.capture()
                if shot.image is None:
                    ledger.drop(shot.flaw)
                else:
                    seconds = index / self.fps if shot.seconds is None else shot.seconds
                    first = seconds if first is None else first
                    yield Captured(index, time.monotonic(), seconds - first, shot.image)
                index += 1
        except av.error.FFmpegError as error:
            self.reason = f"film {self._path} was read up to frame {index}: {error}"
        finally:
            self._film.close()
        self.state = "ended"
