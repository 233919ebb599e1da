"""The bond between a child and the daemon that started it: the child does not outlive it.

Linux sends a signal to a child when the thread that started it ends, which here is the daemon's
main thread. A child arms this itself: between fork and exec nothing is safe beside threads. What it
misses before it does so, the daemon's id in the environment shows. Started by hand there is none,
and nothing is armed.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys

PARENT = "ACCLIMATE_DAEMON_PID"
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Be killed when the daemon goes, also where this is stopped, or hangs where nothing else
    reaches it; end at once where it is gone already."""
    parent = os.environ.pop(PARENT, None)  # not for children of its own
    if parent is None:
        return
    _arm(signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("the daemon that started this is gone")


def wake_with_parent() -> None:
    """From now on: no more than be woken when the daemon goes, if this is stopped. For who has
    files to close, and hears of it by the end of stdin."""
    _arm(signal.SIGCONT)


def end_soon(seconds: float) -> None:
    """End this process, in order or not: a thread of C, which no other can hold up, ends it when
    the time is up, and its stacks go to the log."""
    faulthandler.dump_traceback_later(seconds, exit=True)


def _arm(number: signal.Signals) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
