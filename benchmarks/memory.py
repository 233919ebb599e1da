"""What a process holds."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def memory_mib(line: str) -> float:
    """MiB now (`VmRSS`) or at most so far (`VmHWM`).

    Not ru_maxrss: a child inherits its parent's.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) / 1024 for row in lines if row.startswith(line + ":"))


def forget_peak() -> None:
    """Let `VmHWM` begin anew from what is held now, where Linux lets a process do so."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
