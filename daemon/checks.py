"""What `acclimate doctor` looks at on the machine: driver, disk, clock, memory, ports, rights.

A check returns what it found, or None where it has nothing to tell.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import acclimate
from acclimate.configs.schema import Config
from acclimate.daemon.processes import can_adapt
from acclimate.daemon.status import clock as date
from acclimate.daemon.unix import user_name
from acclimate.runtime.durable import write_atomic

NVIDIA, JETSON = Path("/proc/driver/nvidia/version"), Path("/etc/nv_tegra_release")
MEMORY = Path("/proc/meminfo")
ON_A_PROCESSOR = ("auto", "onnxruntime-cpu")
LITTLE_MB, TOO_LITTLE_MB = 1024, 200
SLOW_FSYNC = 1.0
TAIL = 65536


@dataclass(frozen=True)
class Finding:
    """One check's result; `remedy` says what to do, empty where all is well."""

    check: str
    state: Literal["ok", "warning", "problem"]
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Patient:
    """What is examined; `status` is the running daemon's, None without one that answers."""

    state: Path
    config: Config
    status: dict[str, Any] | None

    @property
    def there(self) -> Path:
        """The state folder, or the nearest folder above it that exists."""
        whole = self.state.absolute()
        return next(path for path in (whole, *whole.parents) if path.is_dir())


Check = Callable[[Patient], Finding | None]


def driver(patient: Patient) -> Finding:
    """The GPU's driver, as far as `nvidia-smi` tells."""
    wanted, tool = patient.config.serving.engine, shutil.which("nvidia-smi")
    if JETSON.is_file():
        return Finding("driver", "ok", f"Jetson: {JETSON.read_text().splitlines()[0].strip('# ')}")
    if tool is not None:
        return _asked(tool)
    if NVIDIA.is_file():
        return Finding(
            "driver", "warning", "the NVIDIA driver is loaded, but nvidia-smi is not installed",
            "install the driver's utilities (Debian: nvidia-smi)",
        )  # fmt: skip
    if wanted in ON_A_PROCESSOR:
        return Finding("driver", "ok", "no NVIDIA driver; the processor serves")
    return Finding(
        "driver", "problem", f"serving.engine is {wanted}, and there is no NVIDIA driver",
        "install the driver and restart the machine, or set serving.engine: auto",
    )  # fmt: skip


def _asked(tool: str) -> Finding:
    query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        code, said = 1, str(error)
    else:
        code, said = done.returncode, (done.stdout + done.stderr).strip()
    first = said.splitlines()[0] if said else "it said nothing"
    if code == 0:
        return Finding("driver", "ok", said.replace("\n", "; "))
    return Finding(
        "driver", "problem", f"nvidia-smi fails: {first}",
        "restart the machine; if it stays so, install the driver again (its kernel module and "
        "libraries must be of one version)",
    )  # fmt: skip


def disk(patient: Patient) -> Finding:
    """Room for adapters, frames and the log."""
    room = shutil.disk_usage(patient.there)
    names = os.statvfs(patient.there)
    free = room.free >> 20
    told = f"{free:,} MiB of {room.total >> 20:,} free"
    if names.f_files and not names.f_favail:
        return Finding("disk", "problem", "no inode is free", "remove small files on that disk")
    if free >= LITTLE_MB:
        return Finding("disk", "ok", told)
    return Finding(
        "disk", "problem" if free < TOO_LITTLE_MB else "warning", told,
        "make room, or set buffer.max_mb lower; `acclimate engines prune` removes old engines",
    )  # fmt: skip


def writing(patient: Patient) -> Finding | None:
    """Can the state folder be written, and does what is written reach the disk?"""
    if not patient.state.is_dir():
        return None
    path, started = patient.state / f".doctor-{os.getpid()}", time.monotonic()
    try:
        write_atomic(path, b"written by acclimate doctor\n")
        path.unlink()
    except OSError as error:
        return Finding(
            "writing", "problem", f"{patient.state} cannot be written: {error.strerror}",
            "a read-only file system (mount | grep ' ro'), a full disk or wrong rights",
        )  # fmt: skip
    took = time.monotonic() - started
    if took > SLOW_FSYNC:
        return Finding(
            "writing", "warning", f"a small file takes {took:.1f} s to reach the disk",
            "a worn card or a busy disk: put the state folder on another one",
        )  # fmt: skip
    return Finding("writing", "ok", f"a small file reaches the disk in {1000 * took:.0f} ms")


def clock(patient: Patient) -> Finding:
    """Is it later than all that has happened, and does someone keep it right?"""
    now, made = time.time(), Path(acclimate.__file__).stat().st_mtime
    newest = max(made, _newest(patient.state / "events.jsonl"))
    if now < newest - 60:
        return Finding(
            "clock", "problem", f"it is {date(now)}, but something happened here at {date(newest)}",
            "set it: timedatectl set-ntp true, or date -s and hwclock -w",
        )  # fmt: skip
    kept = _synchronised()
    if kept is False:
        return Finding(
            "clock", "warning", f"it is {date(now)}, and nobody keeps it right",
            "timedatectl set-ntp true; the event log and `pause --for` go by it",
        )  # fmt: skip
    return Finding("clock", "ok", f"it is {date(now)}" + (", synchronised" if kept else ""))


def _newest(log: Path) -> float:
    """When the newest event happened; 0 where none tells."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            lines = file.read().splitlines()
    except OSError:
        return 0.0
    for line in reversed(lines):
        try:
            return float(json.loads(line)["time"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0.0


def _synchronised() -> bool | None:
    """By systemd; None where it cannot be asked."""
    if (tool := shutil.which("timedatectl")) is None:
        return None
    query = [tool, "show", "--property=NTPSynchronized", "--value"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())


def memory(patient: Patient) -> Finding | None:
    """Enough for a round beside what serves?"""
    found = [line.split() for line in MEMORY.read_text().splitlines()]
    free = next((int(words[1]) >> 10 for words in found if words[0] == "MemAvailable:"), None)
    if free is None:
        return None
    wanted = patient.config.adapt.memory_mb if patient.config.adapt.enabled else 0
    if free >= wanted:
        return Finding("memory", "ok", f"{free:,} MiB free")
    return Finding(
        "memory", "warning", f"{free:,} MiB free, a round may take {wanted:,.0f}",
        "set adapt.memory_mb or adapt.newest lower, or adapt.checkpointing: true",
    )  # fmt: skip


def torch(patient: Patient) -> Finding | None:
    """Adaptation needs it, serving does not."""
    if not patient.config.adapt.enabled:
        return None
    if can_adapt():
        return Finding("torch", "ok", "installed")
    return Finding(
        "torch", "warning", "not installed: it serves, and never adapts",
        "pip install 'acclimate[adapt]', or say adapt.enabled: false",
    )  # fmt: skip


def ports(patient: Patient) -> Finding | None:
    """Free, where no daemon holds them."""
    daemon, control = patient.config.daemon, patient.config.control
    wanted = [("daemon.http_port", daemon.http_host, daemon.http_port)]
    if control.tcp_host is not None:
        wanted.append(("control.tcp_port", control.tcp_host, control.tcp_port))
    if patient.status is not None:
        return None
    for key, host, port in wanted:
        try:
            socket.create_server((host, port)).close()
        except OSError as error:
            return Finding(
                "ports", "problem", f"{key}: {host}:{port} cannot be had: {error.strerror}",
                f"`ss -ltnp` shows who has it; set {key} to another",
            )  # fmt: skip
    told = ", ".join(str(port) for _, _, port in wanted if port)
    return Finding("ports", "ok", f"{told} free" if told else "any will do")


def rights(patient: Patient) -> Finding | None:
    """The state folder is the daemon's alone."""
    if not patient.state.is_dir():
        return None
    found = patient.state.stat()
    mode, owner = stat.S_IMODE(found.st_mode), user_name(found.st_uid)
    read_only = os.statvfs(patient.state).f_flag & os.ST_RDONLY  # `writing` says so
    if not read_only and not os.access(patient.state, os.W_OK):
        return Finding(
            "rights", "problem",
            f"{patient.state} is {owner}'s, and {user_name(os.geteuid())} may not write there",
            f"sudo -u {owner} acclimate ...",
        )  # fmt: skip
    if mode & 0o007:
        return Finding(
            "rights", "warning", f"everybody may look into {patient.state} ({mode:04o}); buffered "
            "frames are personal data", f"chmod o-rwx {patient.state}",
        )  # fmt: skip
    return Finding("rights", "ok", f"{patient.state} is {owner}'s ({mode:04o})")


MACHINE: tuple[Check, ...] = (driver, disk, writing, clock, memory, torch, ports, rights)
