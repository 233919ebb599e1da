"""GStreamer pipelines: what is run, what they give, how they fail."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.source import SourceConfig
from acclimate.errors import SourceError
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.sources import gstreamer
from acclimate.runtime.sources.camera import CameraSource
from acclimate.runtime.sources.gstreamer import GstConnection, command, pipeline_of
from tests.conftest import wait_until

needs_gst = pytest.mark.skipif(shutil.which("gst-launch-1.0") is None, reason="no gst-launch-1.0")
TINY = "video/x-raw,width=64,height=48,framerate=20/1"


def test_without_gstreamer_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SourceError, match=r"apt-get install gstreamer1\.0-tools"):
        CameraSource("gst:videotestsrc", SourceConfig())


@pytest.mark.parametrize(("url", "says"), [("gst:", "no pipeline"), ("gst:a 'b", "quotation")])
def test_what_is_no_pipeline_is_named(url: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        pipeline_of(url)


def test_no_shell_sees_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    elements = pipeline_of("gst:filesrc location='a; b.mp4' ! decodebin")
    run = command(elements, 9)
    assert run[:3] == ["setpriv", "--pdeathsig", "KILL"]
    assert run[3:9] == ["gst-launch-1.0", "-q", "filesrc", "location=a; b.mp4", "!", "decodebin"]
    assert run[-3:] == ["fdsink", "fd=9", "sync=false"]


@needs_gst
def test_a_pipeline_gives_pictures_in_colour() -> None:
    red = f"gst:videotestsrc is-live=true pattern=red num-buffers=200 ! {TINY}"
    camera, stop = CameraSource(red, SourceConfig(policy="every")), threading.Event()
    frames = camera.frames(Ledger(), stop)
    taken = [next(frames) for _ in range(5)]
    assert (camera.state, camera.reason, camera.fps) == ("live", "decoded by GStreamer", 20)
    assert taken[0].image.shape == (48, 64, 3)
    means = taken[0].image.reshape(-1, 3).mean(0)
    assert means[0] > 200 > 60 > max(means[1:])
    assert [f.time for f in taken] == sorted(f.time for f in taken)
    stop.set()
    assert len(list(frames)) <= 1
    assert camera.state == "ended"


@needs_gst
def test_a_wrong_pipeline_fails_in_gstreamers_words() -> None:
    connection = GstConnection(pipeline_of("gst:videotestsrc nosuch=1"))
    with pytest.raises(SourceError, match='no property "nosuch"'):
        connection.open()
    connection.close()


class Runs:
    """A camera behind a pipeline, drained by a thread."""

    def __init__(self, url: str, **config: Any) -> None:
        settings = {"reconnect_seconds": 0.1, "policy": "every"} | config
        self.camera, self.ledger = CameraSource(url, SourceConfig(**settings)), Ledger()
        self.stop, self.frames = threading.Event(), 0
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        for _ in self.camera.frames(self.ledger, self.stop):
            self.frames += 1

    def end(self) -> None:
        self.stop.set()
        self._thread.join(10)
        assert self.camera.state == "ended"
        assert self.ledger.captured == self.frames + sum(self.ledger.dropped.values())


def children() -> list[str]:
    """The command lines of this process's pipelines."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if "unmistakable" in line and "gst-launch" in line:
            found.append(line)
    return found


@needs_gst
def test_a_pipeline_that_ends_is_started_again() -> None:
    run = Runs(f"gst:videotestsrc num-buffers=4 ! {TINY}")
    wait_until(lambda: run.frames > 5, 30, "the second run's frames")
    run.end()


@needs_gst
def test_a_silent_pipeline_is_killed_and_none_is_left() -> None:
    mute = "fakesrc name=unmistakable ! identity sleep-time=100000000 ! video/x-raw,format=I420"
    run = Runs(f"gst:{mute},width=64,height=48,framerate=20/1", stale_seconds=1.0)
    wait_until(lambda: run.camera.state == "failed", 30, "the camera to be given up")
    assert "no picture for 1 s" in run.camera.reason
    run.end()
    wait_until(lambda: not children(), 10, "the pipeline to be dead")


@needs_gst
def test_a_pipeline_whose_reader_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer, "LAUNCH", "false")
    connection = GstConnection(["x"])
    with pytest.raises(SourceError, match="the pipeline failed"):
        connection.open()
    connection.close()
