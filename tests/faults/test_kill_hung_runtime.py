"""A serving process that hangs, as in a call to the GPU that never returns."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from tests.conftest import wait_until
from tests.integration.conftest import Daemon, start  # noqa: F401
from tests.integration.test_faults import served


def test_a_hung_runtime_is_killed_and_booked(start: Callable[..., Daemon]) -> None:  # noqa: F811
    daemon = start(
        "--source", "world:seed=3,fps=8", adapt={"enabled": False}, daemon={"hang_timeout_s": 6}
    )
    daemon.wait("serving")
    wait_until(lambda: served(daemon) > 8, 60, "frames")
    os.kill(daemon.child("acclimate.runtime.main"), signal.SIGSTOP)
    told = daemon.wait("runtime_error")[0]["message"]
    assert "it hangs and was killed" in told
    assert daemon.wait("runtime_died")[0]["exit_code"] == -signal.SIGKILL
    daemon.wait("serving", 2)
    before = served(daemon)
    wait_until(lambda: served(daemon) > before + 8, 60, "frames from the second life")
    code, ledger = daemon.stop()
    assert code == 0
    assert ledger["balanced"], ledger
