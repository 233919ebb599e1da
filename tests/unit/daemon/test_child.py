"""Children that speak JSON lines, and some that don't."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from acclimate.daemon import child as child_module
from acclimate.daemon.child import Child
from tests.conftest import wait_until


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Start a child that runs a piece of Python."""
    children = []

    def start(code: str) -> Child:
        monkeypatch.setattr(child_module, "command", lambda *_: [sys.executable, "-c", code])
        children.append(Child("runtime", [], tmp_path / "logs" / "child.log"))
        return children[-1]

    yield start
    for one in children:
        one.kill()


def heard(child: Child, count: int) -> list[dict[str, object]]:
    """Its first `count` events."""
    said: list[dict[str, object]] = []

    def enough() -> bool:
        said.extend(child.events())
        return len(said) >= count

    wait_until(enough, 20, f"{count} events")
    return said


def test_it_is_heard_and_its_end_is_seen(run) -> None:  # type: ignore[no-untyped-def]
    child = run("print('{\"event\": \"hello\"}'); print('what?'); raise SystemExit(3)")
    said = heard(child, 2)
    assert said[0] == {"event": "hello"}
    assert said[1]["event"] == "error"
    assert "what?" in str(said[1]["message"])
    wait_until(lambda: child.exit_code == 3, 10, "exit code 3")


def test_it_can_be_spoken_to(run) -> None:  # type: ignore[no-untyped-def]
    child = run("import sys\nfor line in sys.stdin: print(line, end='', flush=True)")
    child.send({"event": "echo", "n": 1})
    assert heard(child, 1) == [{"event": "echo", "n": 1}]


def test_one_that_does_not_stop_is_killed(run) -> None:  # type: ignore[no-untyped-def]
    child = run(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        'print(\'{"event": "deaf"}\', flush=True); time.sleep(60)'
    )
    heard(child, 1)
    started = time.monotonic()
    child.stop(timeout=0.3)
    assert time.monotonic() - started < 20
    assert child.exit_code == -9


def test_a_child_that_is_gone_hears_nothing(run) -> None:  # type: ignore[no-untyped-def]
    child = run("pass")
    wait_until(lambda: child.exit_code == 0, 10, "its end")
    child.send({"cmd": "stop"})
    assert child.memory_mb() == 0.0


def test_errors_go_to_the_log(run) -> None:  # type: ignore[no-untyped-def]
    child = run("raise ValueError('so this is why')")
    wait_until(lambda: child.exit_code == 1, 10, "its end")
    assert "so this is why" in child.log.read_text()
