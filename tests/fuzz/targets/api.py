"""The control API's socket: bytes of a client that may say anything."""

from __future__ import annotations

import atexit
import contextlib
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from acclimate.configs.control import ControlConfig
from acclimate.configs.schema import parse_config
from acclimate.daemon import api as module
from acclimate.daemon import words
from acclimate.daemon.control import Control
from acclimate.daemon.events import EventLog
from acclimate.daemon.lifecycle import Lifecycle
from acclimate.daemon.metrics import Metrics
from tests.unit.daemon.conftest import FakeServing
from tests.unit.daemon.served import ticking
from tests.unit.daemon.test_registry import bundle

PATIENCE = 5.0


def api(data: bytes) -> None:
    """Every request has an answer, and none is "internal error"."""
    life = _life()
    with _living(life), socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(2 * PATIENCE)
        sock.connect(str(life.registry.folder / "control.sock"))
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: sock.recv(1 << 16), b""))
        except (BrokenPipeError, ConnectionResetError):
            return  # it had heard enough
    assert b"HTTP/1.1 500 " not in answer, answer


@contextlib.contextmanager
def _living(life: Lifecycle) -> Iterator[None]:
    """It goes on, in an install without torch, and without the doctor, who starts programs."""
    with (
        patch.object(words, "can_adapt", lambda: False),
        patch.object(module, "examine", lambda *_: []),
        ticking(life, 0.0005),
    ):
        yield


@cache
def _life() -> Lifecycle:
    """A daemon without rounds, listened to on its socket."""
    folder = Path(_kept().name) / "s"
    for number, name in enumerate(("base", "a1", "a2")):
        bundle(folder / "adapters", name, number)
    scripted: Any = FakeServing()
    log = EventLog(folder / "events.jsonl", lambda _: None)
    config = parse_config({"adapt": {"enabled": False}})
    life = Lifecycle(config, folder, scripted, log, Metrics())
    app = module.application(life, config, PATIENCE)
    atexit.register(Control(ControlConfig(), folder, app, log).close)
    return life


@cache
def _kept() -> TemporaryDirectory[str]:
    return TemporaryDirectory()
