"""Downloads over real HTTP from a server that knows ranges and can misbehave."""

from __future__ import annotations

import hashlib
import io
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from acclimate.daemon.download import TRIES, download
from acclimate.errors import CheckpointError, DownloadError

CONTENT = bytes(range(256)) * 8192  # 2 MiB
MIDDLE = 700_001


@dataclass
class Server:
    """What is served, how it misbehaves, and what was asked for."""

    address: str = ""
    content: bytes = CONTENT
    tag: str | None = '"one"'
    cuts: list[int] = field(default_factory=list)  # bytes sent before the line goes dead
    codes: list[int] = field(default_factory=list)  # answers before the file is given
    ranges: bool = True
    lengths: bool = True
    asked: list[str | None] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """GET / is the file, GET /moved sends there."""

    told: ClassVar[Server]

    def do_GET(self) -> None:
        told = self.told
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/")
            self.end_headers()
            return
        told.asked.append(self.headers.get("Range"))
        if told.codes:
            self.send_error(told.codes.pop(0))
            return
        start = self.start()
        if start is None:
            return
        body = told.content[start:]
        if told.lengths:
            self.send_header("Content-Length", str(len(body)))
        if told.tag:
            self.send_header("ETag", told.tag)
        self.end_headers()
        if told.cuts:
            body = body[: told.cuts.pop(0)]
        self.wfile.write(body)
        self.close_connection = True

    def start(self) -> int | None:
        """The first byte to send, after the status line; None when all is said."""
        told, asked = self.told, self.headers.get("Range")
        changed = self.headers.get("If-Range") not in (None, told.tag)
        if not asked or not told.ranges or changed:
            self.send_response(200)
            return 0
        start, size = int(asked.removeprefix("bytes=").removesuffix("-")), len(told.content)
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        return start

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    told = Server()
    handler = type("Told", (Handler,), {"told": told})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        told.address = f"http://127.0.0.1:{http.server_address[1]}/"
        yield told
        http.shutdown()
        thread.join()


def fetch(server: Server, target: Path) -> None:
    """Download and accept anything."""
    download(server.address, target, lambda _: None, pause=0)


def test_a_whole_file_comes(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "w.pth"
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_progress_is_told(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(server, tmp_path / "w.pth")
    assert "2.1 MB of 2.1 MB, 100 %" in capsys.readouterr().err


@pytest.mark.parametrize("tag", ['"one"', 'W/"weak"', None])
def test_a_broken_line_is_gone_on_with(server: Server, tmp_path: Path, tag: str | None) -> None:
    server.tag, server.cuts = tag, [MIDDLE, 5, 0]
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert server.asked == [
        None,
        f"bytes={MIDDLE}-",
        f"bytes={MIDDLE + 5}-",
        f"bytes={MIDDLE + 5}-",
    ]


def test_a_later_call_goes_on_too(server: Server, tmp_path: Path) -> None:
    server.cuts = [MIDDLE] + [0] * (TRIES - 1)
    with pytest.raises(DownloadError, match=r"ended after 0\.7 MB of 2\.1 MB.*pull again"):
        fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth.part").read_bytes() == CONTENT[:MIDDLE]
    assert not (tmp_path / "w.pth").exists()
    server.asked.clear()
    fetch(server, tmp_path / "w.pth")
    assert server.asked == [f"bytes={MIDDLE}-"]
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


def test_what_was_complete_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    """As after a crash between the last byte and the rename."""
    (tmp_path / "w.pth.part").write_bytes(CONTENT)
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [MIDDLE]
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_begun_again(server: Server, tmp_path: Path) -> None:
    server.cuts = [MIDDLE] + [0] * (TRIES - 1)
    with pytest.raises(DownloadError):
        fetch(server, tmp_path / "w.pth")
    server.content, server.tag = CONTENT[::-1], '"two"'
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == CONTENT[::-1]


def test_a_part_longer_than_the_file_is_begun_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "w.pth.part").write_bytes(CONTENT * 2)
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_without_a_length_all_is_taken(server: Server, tmp_path: Path) -> None:
    server.lengths = False
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_redirect_is_followed_and_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.cuts = [MIDDLE]
    server.address += "moved"
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={MIDDLE}-"]


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, code: int) -> None:
    server.codes = [code, code]
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_told_at_once(server: Server, tmp_path: Path, code: int) -> None:
    server.codes = [code, code]
    with pytest.raises(DownloadError, match=f"the server says {code}"):
        fetch(server, tmp_path / "w.pth")
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_told(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(DownloadError, match=r"no connection: .*refused"):
            download(f"http://127.0.0.1:{port}/", tmp_path / "w", lambda _: None, pause=0)


def test_what_is_not_accepted_gets_no_name(server: Server, tmp_path: Path) -> None:
    def refuse(part: Path) -> None:
        assert part.read_bytes() == CONTENT
        raise CheckpointError("not this one")

    with pytest.raises(CheckpointError, match="not this one"):
        download(server.address, tmp_path / "w.pth", refuse, pause=0)
    assert list(tmp_path.iterdir()) == []


def test_two_downloads_of_a_file_do_not_mix(server: Server, tmp_path: Path) -> None:
    def second(part: Path) -> None:
        with pytest.raises(DownloadError, match="another process"):
            fetch(server, tmp_path / "w.pth")

    download(server.address, tmp_path / "w.pth", second, pause=0)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_too_little_room_is_told_before(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match=r"room for 1\.0 MB, 2\.1 MB are to come"):
        fetch(server, tmp_path / "w.pth")


FULL = """
import resource, signal, sys
from pathlib import Path
from acclimate.daemon.download import download
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
download(sys.argv[1], Path(sys.argv[2]), lambda _: None, pause=0)
"""


def test_a_disk_that_fills_up_keeps_what_came(server: Server, tmp_path: Path) -> None:
    """A process that may not write past 1 MB meets the same OSError."""
    arguments = [sys.executable, "-c", FULL, server.address, str(tmp_path / "w.pth")]
    left = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)
    assert "DownloadError" in left.stderr
    assert "File too large; what came is kept" in left.stderr
    part = (tmp_path / "w.pth.part").read_bytes()
    assert 0 < len(part) <= 1_000_000
    assert CONTENT.startswith(part)
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_killed_download_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    """kill -9 between two blocks: the next call asks for the rest."""
    code = (
        "import os, signal, sys; from pathlib import Path; import acclimate.daemon.download as d\n"
        "read = d._read\n"
        "def once(answer):\n"
        "    if os.path.getsize(sys.argv[2] + '.part'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return read(answer)\n"
        "d._read = once\n"
        "d.download(sys.argv[1], Path(sys.argv[2]), lambda _: None)\n"
    )
    arguments = [sys.executable, "-c", code, server.address, str(tmp_path / "w.pth")]
    assert subprocess.run(arguments, check=False, timeout=60).returncode == -signal.SIGKILL
    have = (tmp_path / "w.pth.part").stat().st_size
    assert 0 < have < len(CONTENT)
    fetch(server, tmp_path / "w.pth")
    assert server.asked[-1] == f"bytes={have}-"
    digest = hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()
    assert digest == hashlib.sha256(CONTENT).hexdigest()


def test_a_server_that_never_stops_is_left(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acclimate.daemon.download.MOST_BYTES", 1 << 20)
    server.lengths = False
    with pytest.raises(DownloadError, match=r"sends more than 1\.0 MB"):
        fetch(server, tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_nothing_leads_away_from_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Answer(io.BytesIO):
        def geturl(self) -> str:
            return "http://elsewhere/w"

    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Answer(b"x"))
    with pytest.raises(DownloadError, match="away from https"):
        download("https://there/w", tmp_path / "w", lambda _: None, pause=0)
