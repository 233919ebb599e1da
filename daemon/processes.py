"""The processes of the house: names only, so that the daemon stays light.

export    torch -> engine and base bundle; once per base model and resolution
build     the graph -> an engine of another library or precision; where torch is not installed
engines   one-off jobs: list, verify, prune such engines
runtime   frames in, label maps out; the path that nothing may disturb
adapt     one adaptation round; starts, leaves a candidate or nothing, and is gone
offline   one-off jobs: segment a folder or film, evaluate against labels
words     other words for adapters: for such a job, or to serve them (`acclimate vocab set`)
reference the same jobs by the network in torch, as its authors evaluate it
reproduce a paper's table on a data set: hours to days, stopped and started again at will
weights   one-off jobs: say what a weights file is, write it for other tools
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """`nice` 0..19: how far it steps back for others; `env`: added to the environment."""

    module: str
    nice: int = 0
    env: tuple[tuple[str, str], ...] = ()


PROCESSES = {
    "export": Process("acclimate.export.main"),
    "build": Process("acclimate.export.build"),
    "engines": Process("acclimate.export.engines"),
    "runtime": Process("acclimate.runtime.main"),
    "adapt": Process("acclimate.adapt.main", nice=19, env=(("OMP_NUM_THREADS", "1"),)),
    "offline": Process("acclimate.runtime.offline"),
    "words": Process("acclimate.export.words", nice=19, env=(("OMP_NUM_THREADS", "1"),)),
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
