"""A daemon as a real process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import wait_until

QUICK = {
    "serving": {"threads": 1, "overlay_video": False},
    "drift": {"threshold": 0.8, "reference_frames": 16, "smoothing_frames": 4},
    "adapt": {"steps": 6, "min_frames": 8, "newest": 16, "cooldown_s": 0.5, "colour": "plain"},
    "probation": {"frames": 16, "before_frames": 16, "min_frames": 4},
    "gate": {
        "min_agreement": 0.5,
        "min_pseudo_miou": 0.2,
        "max_histogram_js": 0.3,
        "contest": "not_worse",
        "margin_dressed": 5,
        "max_duel_loss": 20,
    },
    "daemon": {"http_port": 0},
}


class Daemon:
    """`acclimate run` on a state folder."""

    def __init__(self, state: Path, arguments: list[str], settings: dict[str, Any]) -> None:
        self.state = state
        config = state.parent / "config.yaml"
        config.write_text(yaml.safe_dump(settings))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "acclimate.daemon.cli", "run", "--config", str(config),
             "--state", str(state), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Every event of a kind so far."""
        path = self.state / "events.jsonl"
        rows = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
        return [row for row in rows if row["event"] == kind]

    def wait(self, kind: str, count: int = 1, seconds: float = 300) -> list[dict[str, Any]]:
        """The first `count` events of a kind; fails when the daemon ends before or time is up."""

        def seen() -> bool:
            assert self.process.poll() is None, self.process.communicate()[0]
            return len(self.events(kind)) >= count

        wait_until(seen, seconds, f"{count} {kind}")
        return self.events(kind)

    def child(self, module: str) -> int:
        """The process id of the child that runs `module`."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if module.encode() in words and parent == self.process.pid:
                return int(folder.name)
        pytest.fail(f"no child runs {module}")

    def stop(self) -> tuple[int, dict[str, Any]]:
        """SIGTERM; exit code and the ledger."""
        self.process.send_signal(signal.SIGTERM)
        return self.finish(30)

    def finish(self, seconds: float) -> tuple[int, dict[str, Any]]:
        """Wait for its own end; exit code and the ledger."""
        said, _ = self.process.communicate(timeout=seconds)
        assert self.events("stopped"), said
        return self.process.returncode, self.events("stopped")[-1]["ledger"]


@pytest.fixture
def start(state: Path) -> Iterator[Callable[..., Daemon]]:
    """Start daemons on `state`; whatever is left of them is killed."""
    running: list[Daemon] = []

    def start_one(*arguments: str, **settings: Any) -> Daemon:
        merged = {k: {**QUICK.get(k, {}), **settings.get(k, {})} for k in QUICK | settings}
        running.append(Daemon(state, list(arguments), merged))
        return running[-1]

    yield start_one
    for daemon in running:
        with daemon.process:
            daemon.process.kill()
