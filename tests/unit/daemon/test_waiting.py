"""Waiting for a process, open to interruption."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from acclimate.daemon.waiting import wait_for
from acclimate.errors import Stopped
from tests.conftest import wait_until


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_its_exit_code_output_and_environment(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+b") as out:
        code = "import os; print(os.environ['WORD']); raise SystemExit(7)"
        assert wait_for(python(code), environment={"WORD": "hello"}, out=out) == 7
        out.seek(0)
        assert out.read() == b"hello\n"


def test_meanwhile_is_called_until_it_ends(tmp_path: Path) -> None:
    calls = []

    def meanwhile() -> None:
        calls.append(1)
        if len(calls) == 3:
            (tmp_path / "go").touch()

    waits = f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)"
    assert wait_for(python(waits), meanwhile) == 0
    assert len(calls) >= 3


def test_what_meanwhile_raises_ends_it_and_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        f"if child: open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{child}} .')\n"
        "time.sleep(600)"
    )

    def meanwhile() -> None:
        if note.exists() and note.read_text().endswith("."):
            raise Stopped("enough")

    with pytest.raises(Stopped):
        wait_for(python(code), meanwhile)
    for pid in map(int, note.read_text().split()[:2]):
        wait_until(lambda pid=pid: not alive(pid), 10, f"the end of {pid}")


def alive(pid: int) -> bool:
    """Is it there, and more than a name?"""
    try:
        return ") Z " not in (Path("/proc") / str(pid) / "stat").read_text()
    except OSError:
        return False


def test_interrupted_by_hand(tmp_path: Path) -> None:
    pids = []

    def meanwhile() -> None:
        pids.append(os.getpid())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_for(python("import time; time.sleep(600)"), meanwhile)
    assert len(pids) == 1
