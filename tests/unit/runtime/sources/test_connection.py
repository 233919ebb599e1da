"""Devices and servers that say nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path

import pytest

from acclimate.errors import RefusedError, SourceError
from acclimate.runtime.sources.address import Address
from acclimate.runtime.sources.connection import AvConnection, descriptor_of, patient


def test_an_open_device_is_found_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "video0"
    path.touch()
    link = tmp_path / "by-id"
    link.symlink_to(path)
    assert descriptor_of(str(link)) == -1
    with path.open() as file:
        assert descriptor_of(str(link)) == file.fileno()


def test_a_silent_device_is_not_read() -> None:
    ours, theirs = os.pipe()
    asked: list[int] = []

    def packets() -> object:
        for number in range(5):
            asked.append(number)
            os.read(ours, 1)
            yield number

    os.write(theirs, b"xy")
    given = patient(packets(), ours, 0.2)
    assert [next(given), next(given)] == [0, 1]
    with pytest.raises(SourceError, match=r"nothing for 0\.2 s"):
        next(given)  # a read would have waited for ever
    assert asked == [0, 1]
    os.close(ours)
    os.close(theirs)


def answering(answer: str) -> tuple[socket.socket, str]:
    """A server on loopback that gives each RTSP request this answer, or accepts and is silent."""
    server = socket.create_server(("127.0.0.1", 0))

    def talk(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while request := client.recv(4096):
                if answer:
                    number = request.split(b"CSeq: ")[1].split(b"\r")[0].decode()
                    client.sendall(f"RTSP/1.0 {answer}\r\nCSeq: {number}\r\n\r\n".encode())

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return server, f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_accepts_and_says_nothing_is_left(scheme: str) -> None:
    server, place = answering("")
    connection = AvConnection(Address(f"{scheme}://{place}/x"), 0.5, False)
    with server, pytest.raises(SourceError, match=r"0\.5 s"):
        connection.open()
    connection.close()


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [("401 Unauthorized", RefusedError, "password"), ("404 Not Found", SourceError, "404")],
)
def test_a_refusal_is_told_apart_from_an_unknown_stream(
    answer: str, kind: type[Exception], says: str
) -> None:
    server, place = answering(answer)
    with server, pytest.raises(kind, match=says):
        AvConnection(Address(f"rtsp://{place}/x"), 10, False).open()


def test_a_missing_device_is_named() -> None:
    connection = AvConnection(Address("/dev/video97", "v4l2", device="/dev/video97"), 1, True)
    with pytest.raises(SourceError, match="plugged in"):
        connection.open()
    connection.close()
