"""The window, over real HTTP."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from acclimate.daemon import http as module
from acclimate.daemon.http import VIEWERS, Window
from acclimate.errors import ConfigError
from tests.conftest import wait_until

STATUS: dict[str, Any] = {"active": "base", "source": "live"}


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    state = tmp_path_factory.mktemp("state")
    one = Window("127.0.0.1", 0, state, lambda: STATUS, lambda: b"acclimate_drift_ratio 1.0\n")
    yield one
    one.close()


def get(window: Window, path: str) -> tuple[int, Message, bytes]:
    """Status code, headers and body."""
    try:
        url = f"http://127.0.0.1:{window.port}{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_a_crowd_takes_no_more_threads_than_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_GUESTS", 2)
    one = Window("127.0.0.1", 0, tmp_path, lambda: STATUS, lambda: b"")
    with contextlib.ExitStack() as crowd:
        guests = [
            crowd.enter_context(socket.create_connection(("127.0.0.1", one.port), timeout=5))
            for _ in range(4)
        ]
        assert [guest.recv(1) for guest in guests[2:]] == [b"", b""], "turned away"
        with pytest.raises((OSError, http.client.HTTPException)):
            get(one, "/metrics")

    def room() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return get(one, "/metrics")[0] == 200
        return False

    wait_until(room, 20, "room again")
    one.close()


def test_the_page(window: Window) -> None:
    code, headers, body = get(window, "/")
    assert (code, headers.get_content_type()) == (200, "text/html")
    assert body.startswith(b"<!doctype html>")
    assert b"http://" not in body, "the page needs nothing from elsewhere"


def test_metrics(window: Window) -> None:
    code, headers, body = get(window, "/metrics")
    assert (code, headers.get_content_type()) == (200, "text/plain")
    assert body == b"acclimate_drift_ratio 1.0\n"


def test_status(window: Window) -> None:
    code, headers, body = get(window, "/status")
    assert (code, headers.get_content_type(), json.loads(body)) == (200, "application/json", STATUS)
    assert headers["Cache-Control"] == "no-store"
    assert int(headers["Content-Length"]) == len(body)


def test_latest_appears_with_the_first_picture(window: Window) -> None:
    picture = window._state / "latest.jpg"
    assert get(window, "/latest.jpg")[0] == 404
    picture.write_bytes(b"\xff\xd8picture")
    code, headers, body = get(window, "/latest.jpg?1234")
    assert (code, headers.get_content_type(), body) == (200, "image/jpeg", b"\xff\xd8picture")


def test_label_maps_and_pictures_of_several_cameras(window: Window) -> None:
    for name, kind in (("latest.png", "image/png"), ("latest-front.jpg", "image/jpeg")):
        assert get(window, f"/{name}")[0] == 404
        (window._state / name).write_bytes(name.encode())
        code, headers, body = get(window, f"/{name}")
        assert (code, headers.get_content_type(), body) == (200, kind, name.encode())


def part(answer: Any) -> bytes:
    """The next picture of a stream."""
    head = [answer.readline().strip() for _ in range(4)]
    assert head[:2] == [b"--frame", b"Content-Type: image/jpeg"]
    body: bytes = answer.read(int(head[2].split(b":")[1]))
    assert answer.readline() == b"\r\n"
    return body


def test_a_stream_shows_each_new_picture_to_a_few(window: Window) -> None:
    url, path = f"http://127.0.0.1:{window.port}/stream-rear.mjpg", window._state
    path /= "latest-rear.jpg"
    path.write_bytes(b"one")
    with contextlib.ExitStack() as open_ones:
        watching = [
            open_ones.enter_context(urllib.request.urlopen(url, timeout=5)) for _ in range(VIEWERS)
        ]
        assert watching[0].headers.get_content_type() == "multipart/x-mixed-replace"
        assert [part(one) for one in watching] == [b"one"] * VIEWERS
        assert get(window, "/stream-rear.mjpg")[0] == 503
        path.write_bytes(b"two!")
        os.utime(path, ns=(1, 1))
        assert {part(one) for one in watching} == {b"two!"}
    number = itertools.count()

    def one_left() -> bool:  # it is noticed when there is something to tell it
        path.write_bytes(b"again")
        os.utime(path, ns=(1, next(number)))
        try:
            with urllib.request.urlopen(url, timeout=5) as again:
                return part(again) == b"again"
        except urllib.error.HTTPError as error:
            error.close()
            return False

    wait_until(one_left, 10, "a viewer to leave")


def test_alive_is_not_ready(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STATUS, "source", "stale")
    assert [get(window, path)[0] for path in ("/livez", "/readyz", "/healthz")] == [200, 503, 503]


@pytest.mark.parametrize(
    ("source", "code"), [("live", 200), ("connecting", 503), ("stale", 503), ("failed", 503)]
)
def test_healthz_is_about_the_source(
    window: Window, monkeypatch: pytest.MonkeyPatch, source: str, code: int
) -> None:
    monkeypatch.setitem(STATUS, "source", source)
    assert get(window, "/healthz")[::2] == (code, f"source {source}\n".encode())


@pytest.mark.parametrize(
    "path",
    [
        "/favicon.ico",
        "/../state.json",
        "/status/",
        "/%2e%2e/x",
        "/latest-../../x.jpg",
        "/latest-/x.png",
    ],
)
def test_anything_else_is_not_there(window: Window, path: str) -> None:
    code, _, body = get(window, path)
    assert code == 404
    assert b"/metrics" in body


@pytest.mark.parametrize("port", [None, 70000])
def test_a_port_that_cannot_be_had_is_a_configuration_error(
    window: Window, tmp_path: Path, port: int | None
) -> None:
    with pytest.raises(ConfigError, match=r"daemon\.http_port: cannot listen on 127\.0\.0\.1:\d+"):
        Window("127.0.0.1", port or window.port, tmp_path, dict, bytes)


def test_after_close_nobody_listens(tmp_path: Path) -> None:
    one = Window("127.0.0.1", 0, tmp_path, dict, bytes)
    one.close()
    Window("127.0.0.1", one.port, tmp_path, dict, bytes).close()
