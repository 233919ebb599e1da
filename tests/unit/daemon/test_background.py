"""What works in the background steps back, and what serves does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from acclimate.daemon.background import FIRST_TO_GO, NICE, SESSION_NICE, step_back
from tests.unit.daemon.test_child import Start, heard, start  # noqa: F401

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="schedulers differ")
WAITS = (
    "import os, sys, threading\n"
    'print(\'{"event": "up"}\', flush=True); sys.stdin.read(1)\n'
    'def tell(): print(\'{"event": "policy", "is": %d}\' % os.sched_getscheduler(0), flush=True)\n'
    "thread = threading.Thread(target=tell); thread.start(); thread.join(); sys.stdin.read()"
)


def said(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text().strip()


@pytest.mark.parametrize("name", ["adapt", "words"])
def test_it_asks_for_less_and_so_do_its_threads(start: Start, name: str) -> None:  # noqa: F811
    child = start(WAITS, name)
    heard(child, 1)
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == NICE
    assert os.sched_getscheduler(child.pid) == os.SCHED_BATCH
    assert said(child.pid, "oom_score_adj") == str(FIRST_TO_GO)
    child.send({})
    assert heard(child, 1) == [{"event": "policy", "is": os.SCHED_BATCH}]


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="no groups of sessions")
@pytest.mark.parametrize(("name", "nice"), [("adapt", SESSION_NICE), ("runtime", 0)])
def test_so_does_its_session(start: Start, name: str, nice: int) -> None:  # noqa: F811
    child = start(WAITS, name)
    heard(child, 1)
    assert said(child.pid, "autogroup").endswith(f" nice {nice}")


def test_what_serves_stays_as_it_is(start: Start) -> None:  # noqa: F811
    child = start(WAITS, "runtime")
    heard(child, 1)
    ours = os.getpid()
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == os.getpriority(os.PRIO_PROCESS, ours)
    assert os.sched_getscheduler(child.pid) == os.sched_getscheduler(ours)
    assert said(child.pid, "oom_score_adj") == said(ours, "oom_score_adj")


def test_one_that_is_gone_is_no_trouble() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "pass"]) as process:
        process.wait(20)
    step_back(process.pid)
