"""RTSP through a real server on loopback, that dies and comes back."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.source import SourceConfig
from acclimate.daemon.status import read_status
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.sources.camera import CameraSource
from acclimate.runtime.sources.captured import Captured
from tests.conftest import wait_until
from tests.integration.conftest import Daemon
from tests.unit.runtime.sources.films import encode

PYTHON, SERVER = "/usr/bin/python3", Path(__file__).with_name("rtsp_server.py")
NEEDED = "import gi; gi.require_version('GstRtspServer', '1.0')"
SIZE = "video/x-raw,format=I420,width=64,height=48,framerate=10/1"
LIVE = f"videotestsrc is-live=true pattern=red ! {SIZE} ! jpegenc ! rtpjpegpay name=pay0 pt=26"
# rtpjpegpay refuses the format: the server says PLAY and never sends a picture
MUTE = (
    f"videotestsrc is-live=true ! {SIZE.replace('I420', 'Y444')} ! jpegenc ! rtpjpegpay name=pay0"
)


def _has_server() -> bool:
    if not Path(PYTHON).exists():
        return False
    return subprocess.run([PYTHON, "-c", NEEDED], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(
    not _has_server(), reason="no gir1.2-gst-rtsp-server-1.0 and python3-gi"
)


class Server:
    """A server that can be started again on its own port."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/cam"
        self.process: subprocess.Popen[str] | None = None

    def start(self, pipeline: str = LIVE, login: str = "") -> None:
        words = [PYTHON, str(SERVER), str(self.port), pipeline, login]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.kill()


class Viewer:
    """A camera whose frames a thread collects."""

    def __init__(self, url: str, **config: Any) -> None:
        settings = {"reconnect_seconds": 0.2, "stale_seconds": 5.0, "policy": "every", **config}
        self.camera, self.ledger = CameraSource(url, SourceConfig(**settings)), Ledger()
        self.stop, self.frames = threading.Event(), list[Captured]()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        for frame in self.camera.frames(self.ledger, self.stop):
            self.frames.append(frame)

    def until(self, true: Callable[[], object], what: str) -> None:
        wait_until(true, 60, what)

    def end(self) -> None:
        self.stop.set()
        self._thread.join(15)
        assert self.camera.state == "ended"
        assert self.ledger.captured == len(self.frames) + sum(self.ledger.dropped.values())
        assert [f.time for f in self.frames] == sorted(f.time for f in self.frames)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_server_that_is_killed_and_comes_back(server: Server, transport: str) -> None:
    server.start()
    viewer = Viewer(server.url, transport=transport)
    viewer.until(lambda: len(viewer.frames) > 5, "frames")
    assert viewer.camera.state == "live"
    assert viewer.frames[0].image.shape == (48, 64, 3)
    red, green, blue = viewer.frames[0].image.reshape(-1, 3).mean(0)
    assert red > 200 > 60 > max(green, blue)
    assert viewer.frames[5].time - viewer.frames[0].time == pytest.approx(0.5, abs=0.2)
    server.kill()
    viewer.until(lambda: viewer.camera.state == "stale", "the loss to be seen")
    before = len(viewer.frames)
    server.start()
    viewer.until(lambda: len(viewer.frames) > before + 5, "frames again")
    assert viewer.camera.state == "live"
    viewer.end()


def test_a_wrong_password_and_an_unknown_stream_are_told(server: Server) -> None:
    server.start(login="me:secret")
    for url, says in (
        (server.url.replace("//", "//me:wrong@"), "user or password"),
        (server.url.replace("//", "//me:secret@") + "era", "404"),
    ):
        viewer = Viewer(url)
        viewer.until(lambda: viewer.camera.state == "failed", "a refusal")  # noqa: B023
        assert says in viewer.camera.reason
        viewer.end()
    viewer = Viewer(server.url.replace("//", "//me:secret@"))
    viewer.until(lambda: len(viewer.frames) > 2, "frames for who has the password")
    viewer.end()


def test_a_server_that_plays_and_says_nothing_is_given_up(server: Server) -> None:
    server.start(MUTE)
    viewer = Viewer(server.url, stale_seconds=2.0)
    viewer.until(lambda: viewer.camera.state == "failed", "it to be given up")
    assert "2 s" in viewer.camera.reason
    viewer.end()
    assert viewer.ledger.captured == 0


def test_a_stream_that_ends_is_asked_for_again(server: Server, tmp_path: Path) -> None:
    film = encode(tmp_path / "film.mp4", 12, bf="0")
    server.start(f"filesrc location={film} ! qtdemux ! rtph264pay config-interval=-1 name=pay0")
    viewer = Viewer(server.url)
    viewer.until(lambda: len(viewer.frames) > 14, "the film's second showing")
    viewer.end()


def test_a_daemon_lives_through_it(server: Server, start: Callable[..., Daemon]) -> None:
    server.start()
    config = {"url": server.url, "reconnect_seconds": 0.2, "stale_seconds": 5.0}
    daemon = start(source=config)

    def status() -> dict[str, Any]:
        return read_status(daemon.state)

    def served() -> int:
        return int((status().get("frames") or {}).get("served", 0))

    wait_until(lambda: served() > 5 and status()["source"] == "live", 180, "a live camera")
    server.kill()
    wait_until(lambda: status()["source"] == "stale", 60, "a stale camera")
    before = served()
    server.start()
    wait_until(lambda: served() > before + 5 and status()["source"] == "live", 180, "it to be back")
    code, ledger = daemon.stop()
    assert code == 0
    assert ledger["balanced"]
