"""The line to the daemon: a JSON object in each line, in and out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from acclimate.runtime.parent import end_soon

if TYPE_CHECKING:
    from acclimate.runtime.main import Runtime

Say = Callable[[dict[str, Any]], None]


def listen(runtime: Runtime, patience: float) -> None:
    """Commands from stdin; its end means that the daemon is gone, which would have ended what hangs
    after so many seconds."""
    at_once = {"go": runtime.go, "stop": runtime.stop}
    for line in sys.stdin:
        try:
            command = _command(line)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            command = {"cmd": "complain", "message": f"not a command: {line!r}"}
        if command["cmd"] in at_once:
            at_once[command["cmd"]].set()
        else:
            runtime.commands.put(command)
    runtime.stop.set()
    end_soon(patience)


def _command(line: str) -> dict[str, Any]:
    """Raises for what `_obey` could not: whatever it is told, serving goes on."""
    command: dict[str, Any] = json.loads(line)
    if command["cmd"] not in ("swap", "configure", "purge", "go", "stop"):
        raise ValueError(command["cmd"])
    if command["cmd"] == "purge":
        command["hours"] = float(command["hours"])
    return command


def say(message: dict[str, Any]) -> None:
    """One JSON line to the daemon."""
    print(json.dumps(message), flush=True)
