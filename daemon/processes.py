"""The processes of the house: names only, so that the daemon stays light.

export    torch -> engine and base bundle; once per base model and resolution
build     the graph -> an engine of another library or precision; where torch is not installed
engines   one-off jobs: list, verify, prune such engines
runtime   frames in, label maps out; the path that nothing may disturb. For a reload a second one
          loads beside it, and takes over
adapt     one adaptation round; starts, leaves a candidate or nothing, and is gone
offline   one-off jobs: segment a folder or film, evaluate against labels
words     other words for adapters: for such a job, or to serve them (`acclimate vocab set`)
reference the same jobs by the network in torch, as its authors evaluate it
reproduce a paper's table on a data set: hours to days, stopped and started again at will
weights   one-off jobs: say what a weights file is, write it for other tools
"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from typing import Literal

from acclimate.configs.adapt import AdaptConfig
from acclimate.configs.schema import DaemonConfig
from acclimate.runtime.parent import PARENT

AfterCrash = Literal["restart", "drop", "end"]
ONE_THREAD = ("OMP_NUM_THREADS", "1")
YIELDING = ("CUDA_MPS_CLIENT_PRIORITY", "1")  # below normal, where GPU processes share by MPS


@dataclass(frozen=True)
class Process:
    """`after_crash`: restart = another one takes over, within the budget of `daemon.max_restarts`;
    drop = what it was doing is lost and nothing else, the next reason starts another; end = who
    asked for it fails with it. `background`: it steps back for what serves (`background.py`) and
    is capped where the kernel lets us (`cgroup.py`). `env`: added to the environment."""

    module: str
    after_crash: AfterCrash = "end"
    background: bool = False
    env: tuple[tuple[str, str], ...] = ()


PROCESSES = {
    "export": Process("acclimate.export.main"),
    "build": Process("acclimate.export.build"),
    "engines": Process("acclimate.export.engines"),
    "runtime": Process("acclimate.runtime.main", "restart"),
    "adapt": Process("acclimate.adapt.main", "drop", True, (ONE_THREAD, YIELDING)),
    "offline": Process("acclimate.runtime.offline"),
    "words": Process("acclimate.export.words", "drop", True, (ONE_THREAD,)),
    "reference": Process("acclimate.export.reference"),
    "reproduce": Process("acclimate.adapt.reproduce.main"),
    "weights": Process("acclimate.model.weights"),
}


def can_adapt() -> bool:
    """Is torch installed? (It is not imported to find out.)"""
    return importlib.util.find_spec("torch") is not None


def command(name: str, arguments: list[str]) -> list[str]:
    """The command line of process `name`."""
    return [sys.executable, "-m", PROCESSES[name].module, *arguments]


def restarts(name: str, config: DaemonConfig) -> int:
    """How many crashes of `name` within `daemon.restart_window_s` are followed by another start."""
    return config.max_restarts if PROCESSES[name].after_crash == "restart" else 0


def environment(name: str, limits: AdaptConfig | None = None) -> dict[str, str]:
    """What process `name` finds in its environment; `limits`: what a round may take of a GPU."""
    row = PROCESSES[name]
    share = _gpu_share(limits) if limits is not None and YIELDING in row.env else {}
    return {**os.environ, PARENT: str(os.getpid()), **dict(row.env), **share}


def _gpu_share(limits: AdaptConfig) -> dict[str, str]:
    """Read by CUDA, and only where an MPS daemon runs: see docs/gpu-sharing.md."""
    if not limits.gpu_share:
        return {}
    return {
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": f"{100 * limits.gpu_share:g}",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": f"0={limits.memory_mb:.0f}M",
    }
