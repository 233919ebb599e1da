"""A child does not outlive the daemon that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from acclimate.runtime.parent import PARENT
from tests.conftest import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
STOPPED = """
import os, signal, sys, time
from acclimate.runtime.parent import PARENT, die_with_parent
parent = os.getpid()
if os.fork() == 0:
    os.environ[PARENT] = str(parent)
    die_with_parent()
    print(os.getpid(), flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)
time.sleep(60)
"""
TELLS = """
import ctypes, os
from acclimate.runtime.parent import PARENT, die_with_parent, wake_with_parent
die_with_parent()
{}
armed = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(armed))
print(armed.value, PARENT in os.environ)
"""
HANGS = """
import ctypes
from acclimate.runtime.parent import end_soon
end_soon(0.5)
ctypes.{}(None).pause()
"""


def ran(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A piece of Python, run to its end."""
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip


def gone(pid: int) -> bool:
    """Is it no more? A zombie is not."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] in "ZX"


def test_a_stopped_child_goes_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: gone(pid), 20, "the end of the child")


def test_one_whose_parent_went_before_ends_at_once() -> None:
    done = ran(TELLS.format(""), **{PARENT: "1"})
    assert (done.returncode, done.stdout) == (1, "")
    assert "the daemon that started this is gone" in done.stderr


@pytest.mark.parametrize(
    ("words", "number"), [("", signal.SIGKILL), ("wake_with_parent()", signal.SIGCONT)]
)
def test_it_is_armed_and_its_own_children_hear_nothing_of_it(words: str, number: int) -> None:
    done = ran(TELLS.format(words), **{PARENT: str(os.getpid())})
    assert done.stdout.split() == [str(int(number)), "False"], done.stderr


def test_started_by_hand_it_is_left_alone() -> None:
    assert PARENT not in os.environ
    assert ran(TELLS.format("")).stdout.split() == ["0", "False"]


@pytest.mark.parametrize("library", ["CDLL", "PyDLL"])
def test_what_hangs_in_a_library_ends_when_its_time_is_up(library: str) -> None:
    """PyDLL: with Python's lock in its hands."""
    done = ran(HANGS.format(library))
    assert done.returncode == 1
    assert "Timeout" in done.stderr
