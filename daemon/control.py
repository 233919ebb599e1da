"""Where the control API listens: a Unix socket guarded by file rights, TCP by a token and TLS.

uvicorn runs in threads of the daemon's process; nothing here can hold up the life cycle.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import hmac
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config as Settings
from uvicorn import Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from acclimate.configs.control import ControlConfig
from acclimate.daemon.credentials import secrets_of
from acclimate.daemon.events import EventLog
from acclimate.daemon.unix import address_of, user_name
from acclimate.errors import ConfigError

MOST_BYTES = 2**20  # a vocabulary of 4096 strings
JOIN = 3.0


class Peer(H11Protocol):
    """Who connects to the Unix socket is told by the kernel."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The client's name takes the place of an address."""
        super().connection_made(transport)
        raw = transport.get_extra_info("socket").getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
        )
        process, user, _ = struct.unpack("3i", raw)
        self.client = (f"user {user_name(user)} via socket", process)


class Control:
    """Listens as the configuration says until `close`.

    Raises ConfigError where TCP was asked for and cannot be had. A folder that takes no socket
    costs the socket, never the serving: an event tells, and `open_socket` tries again.
    """

    def __init__(self, config: ControlConfig, state: Path, app: ASGIApp, events: EventLog) -> None:
        self._config, self._path = config, state / "control.sock"
        self._app, self._events = app, events
        self._threads: list[tuple[Server, threading.Thread]] = []
        self._open, self._told = not config.socket, ""
        self.port: int | None = None
        if config.tcp_host is not None:
            self._listen_on_tcp(config, app)
        self.open_socket()

    def open_socket(self) -> None:
        """Listen on the Unix socket, unless it is open or nobody wants it; what is in the way is
        told once."""
        if self._open:
            return
        try:
            listening = unix_socket(self._path, self._config.group)
        except (OSError, KeyError) as error:
            if str(error) != self._told:
                self._events.write("control_off", what="socket", reason=str(error))
            self._told = str(error)
            return
        self._open = True
        self._start(listening, _limited(self._app), http=Peer)

    def _listen_on_tcp(self, config: ControlConfig, app: ASGIApp) -> None:
        assert config.tcp_host is not None
        token = secrets_of(config)
        try:
            listening = socket.create_server((config.tcp_host, config.tcp_port))
        except (OSError, OverflowError) as error:
            where = f"{config.tcp_host}:{config.tcp_port}"
            raise ConfigError([f"control.tcp_port: cannot listen on {where} ({error})"]) from error
        self.port = int(listening.getsockname()[1])
        files = {"ssl_certfile": config.tls_cert, "ssl_keyfile": config.tls_key}
        self._start(listening, _guarded(_limited(app), token), http=H11Protocol, **files)

    def _start(self, listening: socket.socket, app: ASGIApp, **settings: Any) -> None:
        server = Server(Settings(
            app, loop="asyncio", lifespan="off", ws="none", log_config=None, access_log=False,
            proxy_headers=False, server_header=False, limit_concurrency=64,
            timeout_graceful_shutdown=1, **settings,
        ))  # fmt: skip
        serve = threading.Thread(target=server.run, args=([listening],), daemon=True)
        self._threads.append((server, serve))
        serve.start()

    def close(self) -> None:
        """Stop listening."""
        for server, _ in self._threads:
            server.should_exit = True
        for _, serve in self._threads:
            serve.join(JOIN)
        with contextlib.suppress(OSError):  # a read-only disk says so of what is not there, too
            self._path.unlink(missing_ok=True)


def unix_socket(path: Path, group: str | None) -> socket.socket:
    """A listening socket that nobody could ever connect to before its rights were set.

    Raises OSError, and KeyError for a group that is not there.
    """
    number = None if group is None else grp.getgrnam(group).gr_gid
    path.unlink(missing_ok=True)  # of a daemon that was killed: we hold the folder
    listening = socket.socket(socket.AF_UNIX)
    try:
        with address_of(path) as address:
            listening.bind(address)
        path.chmod(0o600)
        if number is not None:
            if path.stat().st_gid != number:  # the unit allows no chown
                os.chown(path, -1, number)
            path.chmod(0o660)
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def _guarded(app: ASGIApp, token: bytes) -> ASGIApp:
    """Nothing at all without the token."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, b"Bearer " + token):
            refusal = JSONResponse(
                {"detail": "the token is missing or wrong"}, 401, {"WWW-Authenticate": "Bearer"}
            )
            await refusal(scope, receive, send)
            return
        address = scope["client"][0] if scope["client"] else "nowhere"
        await app({**scope, "client": (f"token from {address}", 0)}, receive, send)

    return guarded


def _limited(app: ASGIApp) -> ASGIApp:
    """No body that does not say how long it is, and none that is too long."""

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        size = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers:
            await JSONResponse({"detail": "say Content-Length"}, 411)(scope, receive, send)
        elif int(size) > MOST_BYTES:
            told = f"more than {MOST_BYTES} bytes"
            await JSONResponse({"detail": told}, 413)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return limited
