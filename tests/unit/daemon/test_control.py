"""Who gets in: over a real Unix socket, over real TLS."""

from __future__ import annotations

import grp
import http.client
import json
import os
import shutil
import socket
import ssl
import stat
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.control import ControlConfig
from acclimate.daemon import api, client
from acclimate.daemon.client import Daemon, holder_of
from acclimate.daemon.control import MOST_BYTES, Control
from acclimate.daemon.main import only_one
from acclimate.daemon.unix import connected, user_name
from acclimate.errors import ConfigError, SwapRefused
from tests.unit.daemon.conftest import DAY, DUSK, House
from tests.unit.daemon.served import TOKEN, listening, over_tcp

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)
ME = user_name(os.geteuid())


@pytest.fixture
def daemon(house: House) -> Iterator[Daemon]:
    """Asked by its socket."""
    with listening(house, ControlConfig()):
        yield Daemon(house.folder / "control.sock")


# ---- the Unix socket


def test_the_socket_is_its_owners_alone(daemon: Daemon, house: House) -> None:
    found = (house.folder / "control.sock").stat()
    assert (stat.S_ISSOCK(found.st_mode), stat.S_IMODE(found.st_mode)) == (True, 0o600)
    assert found.st_uid == os.geteuid()


def test_or_a_groups(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:  # as under the unit: SystemCallFilter=~@privileged
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.chown", forbidden)
    group = grp.getgrgid(os.getegid())
    with listening(house, ControlConfig(group=group.gr_name)):
        found = (house.folder / "control.sock").stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, group.gr_gid)


@pytest.mark.parametrize("broken", ["group", "folder"])
def test_a_socket_that_cannot_be_had_costs_no_frame(house: House, broken: str) -> None:
    config = ControlConfig(group="nobody knows it" if broken == "group" else None)
    if broken == "folder":
        (house.folder / "control.sock").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        control = Control(config, house.folder, _nothing, house.log)
        patch.setattr(control, "_path", house.folder / "no such file")
        control.close()
    assert house.last("control_off")["what"] == "socket"
    house.drive(DAY)
    assert house.life.stream.last["source"] == "live"


def test_a_socket_is_opened_once_the_folder_takes_it(house: House) -> None:
    (house.folder / "control.sock").mkdir()
    with listening(house, ControlConfig()) as control:
        control.open_socket()
        assert house.kinds.count("control_off") == 1, "told once"
        (house.folder / "control.sock").rmdir()
        control.open_socket()
        connected(house.folder / "control.sock", 5).close()
        control.open_socket()
        assert Daemon(house.folder / "control.sock").call("GET", "/v1/status")["active"] == "base"
    assert not (house.folder / "control.sock").exists()


def test_it_can_be_switched_off(house: House) -> None:
    with listening(house, ControlConfig(socket=False)):
        assert not (house.folder / "control.sock").exists()


def test_what_a_killed_daemon_left_is_no_obstacle(house: House) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(house.folder / "control.sock"))
    with listening(house, ControlConfig()):
        assert Daemon(house.folder / "control.sock").call("GET", "/v1/status")["active"] == "base"
    assert not (house.folder / "control.sock").exists()


def test_a_folder_deeper_than_an_address_is_long(house: House, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    control = Control(ControlConfig(), deep, _nothing, house.log)
    connected(deep / "control.sock", 5).close()
    control.close()


async def _nothing(*_: object) -> None:
    """An application that is never asked."""


# ---- what is asked


def test_wishes_come_true_with_the_name_of_who_asked(daemon: Daemon, house: House) -> None:
    told = daemon.call("POST", "/v1/pause", {"seconds": 60, "reason": "ferry"})
    assert told == {"message": "paused for 60 s: what serves goes on, no round starts"}
    event = house.last("paused")
    assert (event["actor"], event["reason"]) == (f"user {ME} via socket", "ferry")
    assert "more" in daemon.call("GET", "/v1/status")["paused"]
    with pytest.raises(SwapRefused, match="no round now: paused"):
        daemon.call("POST", "/v1/adapt-now")
    assert daemon.call("POST", "/v1/resume")["message"] == "rounds may start again"


def test_a_rollback_returns_when_the_older_one_serves(house: House) -> None:
    name = house.settle()
    with listening(house, ControlConfig()):
        daemon = Daemon(house.folder / "control.sock")
        assert daemon.call("POST", "/v1/rollback") == {"message": "base serves"}
        assert house.serving.active == "base"
        (change,) = daemon.call("GET", "/v1/history?limit=1")
        assert {**change, "time": 0} == {
            "time": 0, "actor": f"user {ME} via socket", "from": name, "to": "base",
            "reason": "manual",
        }  # fmt: skip
        states = {row["id"]: row["state"] for row in daemon.call("GET", "/v1/adapters")}
        assert states == {"base": "active", name: "quarantined"}
        assert daemon.call("GET", f"/v1/adapters/{name}")["state"] == "quarantined"


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "/v1/rollback", {"to": "nobody"}, "there is no adapter nobody; there are base"),
        ("POST", "/v1/rollback", {"to": "../../etc"}, "pattern"),
        ("POST", "/v1/rollback", {"too": "base"}, "too: Extra inputs"),
        ("POST", "/v1/pause", {"seconds": "long"}, "seconds: Input should be a valid number"),
        ("PUT", "/v1/pin", {}, "id: Field required"),
        ("POST", "/v1/adapters/base/quarantine", None, "cannot be quarantined"),
        ("GET", "/v1/adapters/nobody", None, "there is no adapter nobody"),
        ("GET", "/v1/adapters/..%2f..%2fetc", None, "Not Found"),
        ("GET", f"/v1/vocabulary/{'0' * 32}", None, "nobody asked that"),
        ("DELETE", "/v1/status", None, "Method Not Allowed"),
        ("GET", "/etc/passwd", None, "Not Found"),
    ],
)
def test_what_is_refused_says_why(
    daemon: Daemon, method: str, path: str, body: dict[str, Any] | None, said: str
) -> None:
    with pytest.raises(SwapRefused, match=said):
        daemon.call(method, path, body)


def test_events_and_numbers_that_json_does_not_know(daemon: Daemon, house: House) -> None:
    house.log.write("reference", spread=float("nan"))
    (event,) = daemon.call("GET", "/v1/events?kind=reference")
    assert event["spread"] is None
    assert daemon.call("GET", "/v1/events?since=99999999999") == []


def test_other_words_are_answered_by_their_id(daemon: Daemon) -> None:
    answer = daemon.call("POST", "/v1/vocabulary", {"vocabulary": {"classes": []}})
    assert (answer["state"], "classes" in answer["message"]) == ("refused", True)
    assert daemon.call("GET", f"/v1/vocabulary/{answer['id']}") == answer


def test_the_daemon_is_not_waited_for_for_ever(house: House) -> None:
    house.settle()
    house.serving.deaf = True
    with listening(house, ControlConfig(), patience=0.2):
        daemon = Daemon(house.folder / "control.sock")
        with pytest.raises(SwapRefused, match=r"within 0\.2 s: it has begun"):
            daemon.call("POST", "/v1/rollback")
        with pytest.raises(SwapRefused, match=r"within 0\.2 s: withdrawn"):
            daemon.call("PUT", "/v1/pin", {"id": "base"})
        house.serving.take_up("base")
        house.serving.deaf = False
    assert house.state.pinned is None


def test_a_swap_under_way_stops_no_other_request(house: House) -> None:
    house.adapt(DUSK)
    house.serving.deaf = True
    with listening(house, ControlConfig(), patience=5):
        daemon = Daemon(house.folder / "control.sock")
        house.life.inbox.ask({"do": "rollback"}, "anna")
        assert "paused" in daemon.call("POST", "/v1/pause")["message"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"Content-Length": str(MOST_BYTES + 1)}, 413), ({"Transfer-Encoding": "chunked"}, 411)],
)
def test_no_request_fills_the_memory(
    daemon: Daemon, house: House, headers: dict[str, str], code: int
) -> None:
    sock = connected(house.folder / "control.sock", 10)
    lines = [f"{name}: {value}" for name, value in headers.items()]
    sock.sendall("\r\n".join(["POST /v1/pause HTTP/1.1", "Host: x", *lines, "", ""]).encode())
    assert sock.recv(100).startswith(f"HTTP/1.1 {code} ".encode())
    sock.close()


@pytest.mark.parametrize("rubbish", [b"\x00\xff\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"A" * 70000])
def test_rubbish_is_refused_and_forgotten(daemon: Daemon, house: House, rubbish: bytes) -> None:
    sock = connected(house.folder / "control.sock", 10)
    sock.sendall(rubbish)
    assert sock.recv(100).startswith(b"HTTP/1.1 400 ")
    sock.close()
    assert daemon.call("GET", "/v1/status")["active"] == "base"


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe", b'{"\\ud800": 1}', b'{"reason": NaN}', b'{"reason": "\\ud800"}', b"[" * 999],
)
def test_what_is_wrong_with_a_body_is_told_though_it_is_no_text(
    daemon: Daemon, house: House, body: bytes
) -> None:
    sock = connected(house.folder / "control.sock", 10)
    head = f"POST /v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    sock.sendall(head.encode() + body)
    assert sock.recv(100).startswith((b"HTTP/1.1 422 ", b"HTTP/1.1 400 "))
    sock.close()


# ---- TCP


@pytest.fixture
def config(tmp_path: Path) -> ControlConfig:
    return over_tcp(tmp_path)


Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def ask(house: House, config: ControlConfig) -> Iterator[Ask]:
    """GET with these headers: status code and answer."""
    context = ssl.create_default_context(cafile=config.tls_cert)
    with listening(house, config) as control:

        def get(path: str = "/v1/status", **headers: str) -> tuple[int, Any]:
            url = f"https://localhost:{control.port}{path}"
            request = urllib.request.Request(url, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.load(error)

        get.port = control.port  # type: ignore[attr-defined]
        yield get


@needs_openssl
def test_with_the_token_over_tls(ask: Ask) -> None:
    code, status = ask(Authorization=f"Bearer {TOKEN}")
    assert (code, status["active"]) == (200, "base")


@needs_openssl
@pytest.mark.parametrize("path", ["/v1/status", "/v1/openapi.json", "/", "/v1/nothing"])
@pytest.mark.parametrize("given", ["", TOKEN, "Bearer ", "Bearer 0", f"Basic {TOKEN}"])
def test_without_it_nothing_is_told(ask: Ask, path: str, given: str) -> None:
    headers = {"Authorization": given} if given else {}
    assert ask(path, **headers) == (401, {"detail": "the token is missing or wrong"})


@needs_openssl
def test_without_tls_nothing_is_heard(ask: Any) -> None:
    plain = http.client.HTTPConnection("localhost", ask.port, timeout=10)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        plain.request("GET", "/v1/status", headers={"Authorization": f"Bearer {TOKEN}"})
        plain.getresponse()
    plain.close()


@needs_openssl
def test_who_has_the_token_is_named_by_address(house: House, config: ControlConfig) -> None:
    context = ssl.create_default_context(cafile=config.tls_cert)
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "10.9.9.9"}
    with listening(house, config) as control:
        url = f"https://localhost:{control.port}/v1/pause"
        request = urllib.request.Request(url, headers=headers, method="POST")
        urllib.request.urlopen(request, timeout=10, context=context).close()
    assert house.last("paused")["actor"] == "token from 127.0.0.1"


@needs_openssl
def test_a_key_that_everybody_may_read_is_refused(house: House, config: ControlConfig) -> None:
    key = Path(str(config.tls_key))
    key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"control\.tls_key: everybody may read .*chmod 600"):
        Control(config, house.folder, _nothing, house.log)


@needs_openssl
def test_every_mistake_is_named_at_once(house: House, config: ControlConfig) -> None:
    token = Path(str(config.token_file))
    token.write_text("short")
    token.chmod(0o644)
    wrong = replace(config, tls_cert=str(token))
    with pytest.raises(ConfigError) as error:
        Control(wrong, house.folder, _nothing, house.log)
    assert [problem.split(":")[0] for problem in error.value.problems] == [
        "control.token_file", "control.token_file", "control.tls_cert, control.tls_key",
    ]  # fmt: skip
    token.unlink()
    with pytest.raises(ConfigError, match=r"control\.token_file: .*No such file"):
        Control(config, house.folder, _nothing, house.log)


@needs_openssl
def test_a_port_that_is_taken_is_a_configuration_error(house: House, config: ControlConfig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = replace(config, tcp_port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match=r"control\.tcp_port: cannot listen"):
            Control(wanted, house.folder, _nothing, house.log)


# ---- the command line's side


def test_who_holds_the_folder(daemon: Daemon, house: House, tmp_path: Path) -> None:
    with holder_of(house.folder) as holder:
        assert holder is not None
        assert holder.call("GET", "/v1/status")["active"] == "base"
    with holder_of(tmp_path / "other") as nobody:
        assert nobody is None
        with (
            pytest.raises(ConfigError, match="another acclimate runs"),
            only_one(tmp_path / "other"),
        ):
            pass


def test_a_daemon_without_a_socket_is_told_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.1)
    with (
        only_one(house.folder),
        pytest.raises(SwapRefused, match=r"control\.sock.*acclimate doctor"),
        holder_of(house.folder),
    ):
        pass


def test_a_daemon_that_goes_away_while_it_is_asked(house: House) -> None:
    path = house.folder / "control.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        connection = Daemon(path)
        taken = []

        def hang_up() -> None:
            one, _ = server.accept()
            one.recv(1000)
            taken.append(one.close())

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(ConnectionError):
            connection.call("GET", "/v1/status")
        thread.join()


def test_the_daemon_gives_up_before_the_command_line_does() -> None:
    assert api.PATIENCE < client.TIMEOUT
