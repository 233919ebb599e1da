"""A daemon that is killed leaves nobody behind, whatever its children are at."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from acclimate.daemon.status import read_status
from tests.conftest import wait_until
from tests.integration.conftest import Daemon, start  # noqa: F401
from tests.integration.test_faults import DUSK, served
from tests.integration.test_service import loading, resolved


def gone(pid: int) -> bool:
    """Is it no more? A zombie is not."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] in "ZX"


def killed(daemon: Daemon, *children: int) -> None:
    """kill -9, and the children's ends."""
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.communicate()
    for pid in children:
        wait_until(lambda pid=pid: gone(pid), 40, "the end of a child")  # type: ignore[misc]


def test_kill_9_of_a_daemon_ends_a_stopped_runtime_in_order(
    start: Callable[..., Daemon], tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    """Its film is closed: what cannot end in order, as in a driver, ends after a while."""
    daemon = start(
        "--source", "world:seed=3,fps=8", "--out", str(tmp_path / "out"), adapt={"enabled": False},
        serving={"overlay_video": True},
    )  # fmt: skip
    daemon.wait("serving")
    wait_until(lambda: served(daemon) > 8, 60, "frames")
    runtime = daemon.child("acclimate.runtime.main")
    os.kill(runtime, signal.SIGSTOP)
    killed(daemon, runtime)
    assert b"moov" in (tmp_path / "out" / "overlay.mp4").read_bytes()


def test_kill_9_of_a_daemon_ends_a_runtime_that_loads_beside_another(
    start: Callable[..., Daemon],  # noqa: F811
) -> None:
    daemon = start(source={"url": "world:seed=3,fps=8"}, adapt={"enabled": False})
    daemon.wait("serving")
    changed = {"serving": {"threads": 2}, "adapt": {"enabled": False}}
    killed(daemon, *loading(daemon, source={"url": "world:seed=3,fps=8"}, **changed))
    assert resolved(daemon)["serving"]["threads"] == 1


def test_kill_9_of_a_daemon_takes_a_held_round_along(
    start: Callable[..., Daemon],  # noqa: F811
) -> None:
    daemon = start("--source", DUSK, adapt={"steps": 2000, "deadline_s": 300})
    daemon.wait("round_started")
    adapt = daemon.child("acclimate.adapt.main")

    def trains() -> bool:
        return " step " in (doing := read_status(daemon.state)["doing"]) and " step 0 " not in doing

    wait_until(trains, 300, "a step")
    os.kill(adapt, signal.SIGSTOP)
    killed(daemon, adapt, daemon.child("acclimate.runtime.main"))


def test_kill_9_of_a_daemon_ends_a_round_that_has_just_begun(
    start: Callable[..., Daemon],  # noqa: F811
) -> None:
    """It is still loading its libraries, and sees only then that it is alone."""
    daemon = start("--source", DUSK)
    daemon.wait("round_started")
    killed(daemon, daemon.child("acclimate.adapt.main"))
