"""Every input that was ever worth keeping, through its target again."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.kept import CORPUS
from tests.fuzz.room import Finding
from tests.fuzz.targets import TARGETS, target

MOST_SECONDS, MOST_MB = 60, 1500  # of one input: it hangs, it is a bomb


@contextlib.contextmanager
def bounded(name: str) -> Iterator[None]:
    """Raises Finding where it takes too long or far too much memory."""

    def ring(*_: object) -> None:
        raise Finding(f"{name} takes more than {MOST_SECONDS} s")

    before, old = peak_mb(), signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    if (grown := peak_mb() - before) > MOST_MB:
        raise Finding(f"{name} took {grown} MB")


def peak_mb() -> int:
    """The most memory that this process had since this was last asked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak // 1024


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_in_the_corpus_is_a_finding(name: str) -> None:
    inputs, tried = sorted((CORPUS / name).iterdir()), target(name)
    assert inputs, f"no input for {name}"
    for path in inputs:
        with bounded(f"{name}/{path.name}"):
            tried(path.read_bytes())
