"""Caps by the kernel on background work, where the daemon has a cgroup (v2) of its own.

A service with `Delegate=` has one. The kernel wants processes in leaves alone: the daemon and all
that serves move to the leaf `serving`, children of background rows of the process table to
`rounds`, which alone is capped. Where there is none, or the kernel refuses, all goes on without
caps: nothing here raises, and what was refused is said once.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from acclimate.configs.adapt import AdaptConfig

MOUNT, SELF = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
CONTROLLERS = ("memory", "cpu", "io", "pids")
MOST_TASKS = 512  # threads count; a round has a few dozen
PERIOD = 100_000  # microseconds over which `cpu.max` is counted: the kernel's default
_refused: set[str] = set()


@dataclass(frozen=True)
class Caps:
    """`rounds`: the leaf for what works in the background, None where there is none; `told`: which
    caps there are, or why there are none."""

    rounds: Path | None
    told: str


UNCAPPED = "watched, not capped by the kernel: "
_here = Caps(None, UNCAPPED + "no daemon asked for a cgroup yet")


def here() -> Caps:
    """What `settle` found."""
    return _here


def settle(mount: Path = MOUNT, own: Path = SELF) -> Caps:
    """Move this process to `serving` and make `rounds`, if its cgroup is its own. To be called
    before it starts others."""
    global _here
    try:
        _here = _divided(_folder(mount, own))
    except (OSError, ValueError) as error:
        _here = Caps(None, f"{UNCAPPED}{error}")
    return _here


def _folder(mount: Path, own: Path) -> Path:
    """The cgroup of this process; raises ValueError where it is none of v2, or not its own."""
    if not own.exists():
        raise ValueError("this system has no cgroups")
    paths = [line[3:] for line in own.read_text().splitlines() if line.startswith("0::")]
    if not paths or not (mount / "cgroup.controllers").exists():
        raise ValueError("this machine has cgroup v1")
    folder = mount / paths[0].lstrip("/")
    if not (folder / "cgroup.type").exists():  # as the root, or another container's
        raise ValueError(f"the cgroup {paths[0]} is not delegated")
    if folder.name == "serving" and _is_ours(folder.parent):
        return folder.parent  # a daemon before this one, in the same process
    if not _is_ours(folder):
        raise ValueError(f"the cgroup {paths[0]} is not delegated (systemd: Delegate=)")
    if _processes(folder) != {os.getpid()}:
        raise ValueError(f"the cgroup {paths[0]} has other processes, too")
    return folder


def _is_ours(folder: Path) -> bool:
    """Was it handed to us? systemd marks what it delegates; before version 251 it did so for root
    only, and a user tells by owning it. To root all are open, and most are somebody else's."""
    for name in ("user.delegate", "trusted.delegate"):
        try:
            return os.getxattr(folder, name) == b"1"
        except OSError:
            continue
    return os.geteuid() != 0 and folder.stat().st_uid == os.geteuid() and os.access(folder, os.W_OK)


def _processes(folder: Path) -> set[int]:
    return {int(line) for line in (folder / "cgroup.procs").read_text().split()}


def _divided(folder: Path) -> Caps:
    """Leaves in `folder`; raises OSError where the kernel does not let us."""
    serving, rounds = folder / "serving", folder / "rounds"
    _make(serving)
    _put(serving / "cgroup.procs", str(os.getpid()))
    there = (folder / "cgroup.controllers").read_text().split()
    for name in CONTROLLERS:
        if name in there:
            _write(folder / "cgroup.subtree_control", f"+{name}")
    _make(rounds)
    can = [one for one in CONTROLLERS if one in (rounds / "cgroup.controllers").read_text().split()]
    if not can:
        return Caps(None, f"{UNCAPPED}{folder.name} was given no controller")
    return Caps(rounds, f"capped by the kernel: {', '.join(can)} of {folder.name}")


def confine(pid: int, limits: AdaptConfig | None) -> None:
    """Put a process, which has started no other yet, under the caps."""
    rounds = here().rounds
    if rounds is None:
        return
    for name, value in _wanted(rounds, limits).items():
        if (rounds / name).exists() and _now(rounds / name) != value:
            _write(rounds / name, value)
    _write(rounds / "cgroup.procs", str(pid))


def _wanted(rounds: Path, limits: AdaptConfig | None) -> dict[str, str]:
    """What goes into which file of the leaf."""
    caps = {
        "memory.swap.max": "0",  # a cap that may be passed in swap space would cost the disk
        "memory.oom.group": "1",
        "pids.max": str(MOST_TASKS),
        "io.weight": "default 1",
        "io.bfq.weight": "default 1",
    }
    # beside `serving` alone, which shares the service's part of the processor with it: what serving
    # leaves is a round's, whatever else runs. The older file cannot be written once the newer is
    idle = (rounds / "cpu.idle").exists()
    caps |= {"cpu.idle": "1"} if idle else {"cpu.weight": "1"}
    if limits is not None:
        quota = str(round(limits.cpus * PERIOD)) if limits.cpus else "max"
        page = os.sysconf("SC_PAGE_SIZE")
        caps["cpu.max"] = f"{quota} {PERIOD}"
        caps["memory.max"] = str(int(limits.memory_mb * 2**20) // page * page)
    return caps


def kills() -> int:
    """How often the kernel ended something in `rounds` because memory ran out."""
    rounds = here().rounds
    if rounds is None:
        return 0
    try:
        counts = (rounds / "memory.events").read_text().splitlines()
    except OSError:
        return 0
    return next((int(n) for key, n in map(str.split, counts) if key == "oom_kill"), 0)


def _now(path: Path) -> str:
    """What a file says; "" where it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _make(folder: Path) -> None:
    folder.mkdir(exist_ok=True)  # the kernel fills it


def _put(path: Path, value: str) -> None:
    path.write_text(value)


def _write(path: Path, value: str) -> None:
    try:
        _put(path, value)
    except OSError as error:
        if path.name not in _refused:
            _refused.add(path.name)
            print(f"{path}: {value!r}: {error.strerror}; it goes without", file=sys.stderr)
