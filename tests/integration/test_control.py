"""An operator at a real daemon: by its socket, through a kill, and on disk afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acclimate.daemon.client import Daemon as Client
from acclimate.daemon.registry import Registry
from tests.conftest import wait_until


def acclimate(state: Path, *words: str) -> tuple[int, str]:
    """Exit code of a command, and all that it said."""
    done = subprocess.run(
        [sys.executable, "-m", "acclimate.daemon.cli", *words, "--state", str(state)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_a_pause_outlives_a_killed_daemon(state: Path, start: Callable[..., Any]) -> None:
    daemon = start("--source", "world:seed=3")
    daemon.wait("serving")
    assert acclimate(state, "pause", "--reason", "ferry") == (
        0, "paused until `acclimate resume`: what serves goes on, no round starts\n",
    )  # fmt: skip
    assert acclimate(state, "adapt-now") == (1, "error: no round now: paused\n")
    daemon.process.kill()
    daemon.process.communicate()
    assert Registry(state).state.paused is not None
    assert acclimate(state, "pin", "base")[0] == 0, "on disk: the socket is nobody's"

    again = start("--source", "world:seed=3")
    again.wait("serving", 2)
    client = Client(state / "control.sock")
    wait_until(lambda: client.call("GET", "/v1/status")["source"] == "live", 60, "frames")
    status = client.call("GET", "/v1/status")
    assert (status["paused"], status["pinned"]) == ("until `acclimate resume`", "base")
    assert acclimate(state, "resume")[0] == 0
    assert acclimate(state, "adapt-now") == (1, "error: no round now: base is pinned\n")
    code, said = acclimate(state, "doctor", "--json")
    findings = {row["check"]: row["state"] for row in json.loads(said)}
    assert (findings["daemon"], findings["engine"], findings["source"]) == ("warning", "ok", "ok")
    code, ledger = again.stop()
    assert (code, ledger["balanced"]) == (0, True)
    assert not (state / "control.sock").exists()
