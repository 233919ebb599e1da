"""Processes die, bundles rot: serving goes on and the books balance."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.conftest import wait_until
from tests.integration.conftest import Daemon

DUSK = "world:seed=3,fps=8,shift=night,strength=0@4/0.5@9"


def served(daemon: Daemon) -> int:
    """Frames served so far, by the pictures of the window."""
    from acclimate.daemon.status import read_status

    return int(read_status(daemon.state)["frames"]["served"])


def test_kill_9_of_a_round_leaves_serving_alone(start: Callable[..., Daemon]) -> None:
    daemon = start("--source", DUSK)
    first = daemon.wait("round_started")[0]
    os.kill(daemon.child("acclimate.adapt.main"), signal.SIGKILL)
    ended = daemon.wait("round_ended")[0]
    assert (ended["id"], ended["verdict"]) == (first["id"], "failed")
    assert "signal 9" in ended["reasons"][0]
    before = served(daemon)
    wait_until(lambda: served(daemon) > before + 8, 60, "more frames after the kill")
    second = daemon.wait("round_ended", 2)[1]
    assert second["verdict"] in {"accepted", "refused"}, second
    code, ledger = daemon.stop()
    assert code == 0
    assert ledger["balanced"], ledger


def test_kill_9_of_the_runtime_is_survived_and_booked(start: Callable[..., Daemon]) -> None:
    daemon = start("--source", "world:seed=3,fps=8", adapt={"enabled": False})
    daemon.wait("serving")
    wait_until(lambda: served(daemon) > 8, 60, "frames")
    os.kill(daemon.child("acclimate.runtime.main"), signal.SIGKILL)
    assert daemon.wait("runtime_died")[0]["exit_code"] == -signal.SIGKILL
    daemon.wait("serving", 2)
    before = served(daemon)
    wait_until(lambda: served(daemon) > before + 8, 60, "frames from the second life")
    code, ledger = daemon.stop()
    assert code == 0
    assert ledger["balanced"], ledger


def test_a_dead_daemon_takes_its_children_along(start: Callable[..., Daemon]) -> None:
    daemon = start("--source", "world:seed=3,fps=8", adapt={"enabled": False})
    daemon.wait("serving")
    runtime = daemon.child("acclimate.runtime.main")
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.communicate()
    wait_until(lambda: not Path(f"/proc/{runtime}").exists(), 60, "the end of the runtime")
