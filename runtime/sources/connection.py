"""One connection to a camera that PyAV speaks to."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import av
import av.error
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from acclimate.errors import SourceError
from acclimate.runtime.sources.address import Address, explain
from acclimate.runtime.sources.decoding import (
    ODD_TEXT,
    Shot,
    fps_of,
    open_decoder,
    shots,
    video_of,
)


class Connection(Protocol):
    """Opened, read and closed by one thread; `end` may be called by any other."""

    fps: float
    how: str  # it is decoded, in words

    def open(self) -> None:
        """Wait for the camera's answer; raises SourceError."""

    def shots(self) -> Iterator[Shot]:
        """Until the stream ends; raises SourceError where it breaks or is silent."""

    def end(self) -> None:
        """Break off what can be broken off; the rest ends by its own time limit."""

    def close(self) -> None:
        """Give everything back."""


class AvConnection:
    """A camera on the network or on a cable; silent for `silence` seconds, it is given up."""

    fps, how = 25.0, ""

    def __init__(self, address: Address, silence: float, hardware: bool) -> None:
        self._address, self._silence, self._hardware = address, silence, hardware
        self._container: InputContainer | None = None

    def open(self) -> None:
        """See Connection."""
        try:
            self._container, self.how = open_decoder(self._open, self._hardware)
        except av.error.FFmpegError as error:
            raise explain(error, self._silence) from error
        self.fps = fps_of(self._container, self.fps)
        # threads that take a frame each would hand it out as many frames later
        video_of(self._container).thread_type = "SLICE"

    def _open(self, device: HWAccel | None) -> InputContainer:
        where = self._address
        return av.open(
            where.file, format=where.format, options=dict(where.options),
            timeout=(self._silence, self._silence), hwaccel=device, metadata_errors=ODD_TEXT,
        )  # fmt: skip

    def shots(self) -> Iterator[Shot]:
        """See Connection."""
        assert self._container is not None
        stream = video_of(self._container)
        packets: Iterator[Any] = self._container.demux(stream)
        if self._address.device is not None and (fd := descriptor_of(self._address.device)) >= 0:
            packets = patient(packets, fd, self._silence)
        try:
            yield from shots(stream, packets)
        except av.error.FFmpegError as error:
            raise explain(error, self._silence) from error

    def end(self) -> None:
        """See Connection: every call of FFmpeg has a limit of `silence` seconds."""

    def close(self) -> None:
        """See Connection."""
        if self._container is not None:
            self._container.close()


def descriptor_of(path: str) -> int:
    """The number under which this process holds `path` open; -1 where it doesn't."""
    wanted = os.path.realpath(path)
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile, or the listing's own
            if os.path.realpath(entry) == wanted:
                return int(entry.name)
    return -1


def patient(packets: Iterator[Any], fd: int, silence: float) -> Iterator[Any]:
    """`packets`, asked for only when the device has one: V4L2's own call waits for ever."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while poll.poll(1000 * silence):
        try:
            packet = next(packets)
        except StopIteration:
            return
        yield packet
    raise SourceError(f"it said nothing for {silence:g} s")
