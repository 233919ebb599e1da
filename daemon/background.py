"""How a process steps back for what serves, by means that any user has on any Linux.

Caps need a cgroup of our own: see `cgroup.py`. The priority of disk access follows the nice value.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

NICE = 19
# Where the kernel groups sessions (sched_autogroup_enabled) and no service manager divides the
# processor, nice counts within a session alone, and each child is one. A tenth of what serves gets,
# where both want the same core: with less, a round would end at its deadline beside any other work
SESSION_NICE = 10
FIRST_TO_GO = 500  # of 1000, when the machine's memory runs out: long before what serves


def step_back(pid: int) -> None:
    """Lower the claims of a process, and of threads that it starts from now on. What the system
    refuses stays as it is."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
    if sys.platform == "linux":
        # BATCH never preempts others when it wakes. IDLE would live on spare time alone, and starve
        # to its deadline for the same reason as above
        with contextlib.suppress(OSError):
            os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))
        for name, value in (("autogroup", SESSION_NICE), ("oom_score_adj", FIRST_TO_GO)):
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/{name}").write_text(f"{value}\n")
