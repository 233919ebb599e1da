"""The clock of a process that may be stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from acclimate.adapt.uptime import Uptime
from tests.conftest import wait_until

COUNTS = """
import sys, time
from acclimate.adapt.uptime import Uptime
with Uptime() as uptime:
    print("on", flush=True)
    sys.stdin.readline()
    print(uptime.seconds, flush=True)
"""


def test_it_runs_with_the_clock() -> None:
    with Uptime() as uptime:
        before = time.monotonic()
        wait_until(lambda: uptime.seconds >= 0.3, 20, "three ticks")
        assert uptime.seconds <= time.monotonic() - before + 0.5


def test_time_spent_stopped_does_not_count() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", COUNTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    began = time.monotonic()
    os.kill(child.pid, signal.SIGSTOP)
    time.sleep(3.0)
    os.kill(child.pid, signal.SIGCONT)
    told, _ = child.communicate("\n", timeout=20)
    assert float(told) < time.monotonic() - began - 1.5
