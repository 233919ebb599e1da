"""A GStreamer pipeline: gst-launch-1.0 as a child, whose raw pictures come through a pipe."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator

import av
import av.error
from av.container import InputContainer

from acclimate.errors import SourceError
from acclimate.runtime.sources.decoding import Shot, fps_of, shots, video_of

LAUNCH = "gst-launch-1.0"
TAIL = "! videoconvert ! video/x-raw,format=I420 ! y4menc ! fdsink fd={fd} sync=false"
Pipeline = list[str]


def pipeline_of(url: str) -> Pipeline:
    """The elements of `gst:ELEMENTS`, quoted as in a shell; raises SourceError."""
    try:
        elements = shlex.split(url.removeprefix("gst:"))
    except ValueError as error:
        raise SourceError(f"source {url!r}: {error}") from error
    if not elements:
        raise SourceError(f"source {url!r}: no pipeline; try gst:videotestsrc is-live=true")
    if shutil.which(LAUNCH) is None:
        raise SourceError(
            f"source {url!r} needs {LAUNCH}: apt-get install gstreamer1.0-tools "
            "gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
        )
    return elements


def command(elements: Pipeline, fd: int) -> list[str]:
    """What is run. The kernel ends it with the thread that started it, even by kill -9."""
    guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    return [*guard, LAUNCH, "-q", *elements, *shlex.split(TAIL.format(fd=fd))]


class GstConnection:
    """One run of a pipeline."""

    fps, how = 25.0, "decoded by GStreamer"

    def __init__(self, elements: Pipeline) -> None:
        self._elements, self._ended = elements, threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._container: InputContainer | None = None
        self._stack, self._words = contextlib.ExitStack(), b""

    def open(self) -> None:
        """See Connection: start it and wait for its first picture."""
        ours, theirs = os.pipe()
        pipe = self._stack.enter_context(os.fdopen(ours, "rb", buffering=0))
        try:
            self._child = subprocess.Popen(
                command(self._elements, theirs), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, pass_fds=[theirs], start_new_session=True,
            )  # fmt: skip
            assert self._child.stdout is not None
            self._stack.enter_context(self._child.stdout)
            os.set_blocking(self._child.stdout.fileno(), False)
        finally:
            os.close(theirs)
        if self._ended.is_set():  # while it was being started
            self.end()
        try:
            # enough for the header: by default five seconds of pictures are awaited
            self._container = av.open(pipe, "r", format="yuv4mpegpipe", options={"probesize": "32"})
        except av.error.FFmpegError as error:
            raise self._broken(error) from error
        self.fps = fps_of(self._container, self.fps)

    def shots(self) -> Iterator[Shot]:
        """See Connection."""
        assert self._container is not None
        stream = video_of(self._container)
        try:
            for shot in shots(stream, self._container.demux(stream)):
                self._listen()
                # y4m has no stamps: its clock counts frames, not what was lost or late
                yield Shot(shot.at, None, shot.image, shot.flaw)
        except av.error.FFmpegError as error:
            raise self._broken(error) from error
        assert self._child is not None
        if self._child.wait() != 0 and not self._ended.is_set():
            raise self._broken(None)

    def _listen(self) -> None:
        """Keep its last words: an unread pipe would stop it one day."""
        assert self._child is not None
        assert self._child.stdout is not None
        with contextlib.suppress(BlockingIOError):
            while said := os.read(self._child.stdout.fileno(), 2**16):
                self._words = (self._words + said)[-4000:]

    def _broken(self, error: Exception | None) -> SourceError:
        self.end()
        self._listen()
        lines = self._words.decode(errors="replace").splitlines()
        said = next((line for line in lines if "ERROR" in line or "WARNING" in line), "")
        return SourceError(f"the pipeline failed: {said or error or 'it said nothing'}")

    def end(self) -> None:
        """See Connection: kill the pipeline, so that whoever reads sees the end of its pipe."""
        self._ended.set()
        if self._child is not None and self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()

    def close(self) -> None:
        """See Connection."""
        self.end()
        if self._container is not None:
            self._container.close()
        self._stack.close()
