"""What two processes of ours say to each other, in lines."""

from __future__ import annotations

import io
import queue
import sys
import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from acclimate.configs.schema import Config
from acclimate.daemon.child import Child
from acclimate.runtime import listen
from acclimate.runtime.main import Runtime
from acclimate.runtime.stats import Stats


def said(data: bytes) -> None:
    """Anything that a child prints is an event."""
    child = Child.__new__(Child)
    child.name = "runtime"
    for line in data.decode(errors="replace").splitlines():
        told = child._message(line)
        assert isinstance(told["event"], str), told


def commands(data: bytes) -> None:
    """Anything that the runtime is told is obeyed or complained of."""
    runtime, told = Runtime.__new__(Runtime), []

    def request(*asked: object) -> None:
        told.append(asked)

    runtime.__dict__ |= {
        "commands": queue.Queue(), "stop": threading.Event(), "go": threading.Event(),
        "say": told.append, "words": SimpleNamespace(names=()),
        "tap": SimpleNamespace(purge=request), "swapper": SimpleNamespace(request=request),
        "shadow": Config().shadow, "stats": Stats(Config().drift),
    }  # fmt: skip
    lines: Any = io.StringIO(data.decode(errors="replace"))
    with patch.object(sys, "stdin", lines), patch.object(listen, "end_soon"):
        listen.listen(runtime, 1.0)
    assert runtime.stop.is_set()
    runtime._obey()
