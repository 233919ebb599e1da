"""Wait for a process without becoming deaf to signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from typing import IO

LOOK = 0.1
Meanwhile = Callable[[], None]


def nothing() -> None:
    """For those who have nothing to do meanwhile."""


def wait_for(
    task: list[str], meanwhile: Meanwhile = nothing, environment: Mapping[str, str] | None = None,
    out: IO[bytes] | None = None,
) -> int:  # fmt: skip
    """Run `task` to its end, its output into `out`; its exit code. `meanwhile` is called ten times
    a second; whatever it raises ends the task and all that it started, at once."""
    process = subprocess.Popen(task, env=environment, stdout=out, start_new_session=True)
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(LOOK)
            meanwhile()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
