"""Commands to a running daemon: files in its state folder, so that file rights are the guard."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from acclimate.runtime.durable import write_atomic


class Inbox:
    """One JSON file a command, taken in order of arrival."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, command: dict[str, Any]) -> Path:
        """Leave a command for the daemon, in the returned file until it is taken."""
        path = self._folder / f"{time.time_ns():020d}.json"
        write_atomic(path, json.dumps(command).encode())
        return path

    def take(self, most: int | None = None) -> list[dict[str, Any]]:
        """Waiting commands, the oldest `most` of them; unreadable ones are dropped."""
        taken = []
        for path in sorted(self._folder.glob("*.json"))[:most]:
            try:
                command = json.loads(path.read_text())
            except (OSError, ValueError):
                command = None
            path.unlink(missing_ok=True)
            if isinstance(command, dict):
                taken.append(command)
        return taken
