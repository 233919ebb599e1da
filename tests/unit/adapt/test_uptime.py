"""The clock of a process that may be stopped, and its end with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
DIES = """
import os, signal, sys, time
from acclimate.adapt.uptime import die_with_parent
if os.fork() == 0:
    die_with_parent()
    print(os.getpid(), flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)
time.sleep(60)
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


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_stopped_child_goes_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", DIES], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()

    def gone() -> bool:
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] in "ZX"

    wait_until(gone, 20, "the end of the child")
