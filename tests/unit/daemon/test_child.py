"""Children that speak JSON lines, and some that don't."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acclimate.daemon import child as module
from acclimate.daemon.child import Child
from tests.conftest import wait_until

Start = Callable[..., Child]
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    'print(\'{"event": "deaf"}\', flush=True); time.sleep(60)'
)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a child that runs a piece of Python."""
    children = []

    def start_one(code: str, name: str = "runtime") -> Child:
        monkeypatch.setattr(module, "command", lambda *_: [sys.executable, "-S", "-c", code])
        children.append(Child(name, [], tmp_path / "logs" / "child.log"))
        return children[-1]

    yield start_one
    for one in children:
        one.kill()


def heard(child: Child, count: int) -> list[dict[str, Any]]:
    """Its first `count` events."""
    said: list[dict[str, Any]] = []

    def enough() -> bool:
        said.extend(child.events())
        return len(said) >= count

    wait_until(enough, 20, f"{count} events")
    return said


def alive(pid: int) -> bool:
    """Does it run? A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_it_is_heard_and_its_end_is_seen(start: Start) -> None:
    child = start('print(\'{"event": "hello", "n": 1}\'); raise SystemExit(3)')
    assert heard(child, 1) == [{"event": "hello", "n": 1}]
    wait_until(lambda: child.exit_code == 3, 10, "exit code 3")


def test_its_end_is_not_seen_before_its_last_words_are_heard(start: Start) -> None:
    child = start('print(\'{"event": "done"}\')')
    child._process.wait(20)
    child._reader.join(20)
    assert child.exit_code is None
    assert child.events() == [{"event": "done"}]
    assert child.exit_code == 0


@pytest.mark.parametrize("line", ["what?", "42", "null", "[]", '"event"', "{}", '{"event": "ha'])
def test_anything_but_an_event_becomes_an_error(start: Start, line: str) -> None:
    said = heard(start(f"print({line!r})"), 1)
    assert said[0]["event"] == "error"
    assert said[0]["message"] == f"runtime said {line!r}"


def test_bytes_that_are_no_text_do_not_end_the_listening(start: Start) -> None:
    child = start(
        "import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\n'); "
        'sys.stdout.buffer.write(b\'{"event": "on"}\\n\')'
    )
    said = heard(child, 2)
    assert [event["event"] for event in said] == ["error", "on"]


def test_it_can_be_spoken_to(start: Start) -> None:
    child = start("import sys\nfor line in sys.stdin: print(line, end='', flush=True)")
    child.send({"event": "echo", "n": 1})
    child.send({"event": "echo", "n": 2})
    assert [event["n"] for event in heard(child, 2)] == [1, 2]


def test_one_that_is_asked_to_stop_says_its_last_words(start: Start) -> None:
    child = start(
        "import signal, sys, time\n"
        'def end(*_): print(\'{"event": "done"}\', flush=True); sys.exit(0)\n'
        "signal.signal(signal.SIGTERM, end)\n"
        'print(\'{"event": "ready"}\', flush=True); time.sleep(60)'
    )
    heard(child, 1)
    child.stop(timeout=20)
    assert child.events() == [{"event": "done"}]
    assert child.exit_code == 0


def test_one_that_does_not_stop_is_killed(start: Start) -> None:
    child = start(DEAF)
    heard(child, 1)
    started = time.monotonic()
    child.stop(timeout=0.3)
    assert 0.3 <= time.monotonic() - started < 20
    assert child.exit_code == -9


def test_a_kill_takes_its_children_along(start: Start) -> None:
    child = start(
        "import json, subprocess, sys, time\n"
        "one = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])\n"
        "print(json.dumps({'event': 'child', 'pid': one.pid}), flush=True); time.sleep(60)"
    )
    grandchild = heard(child, 1)[0]["pid"]
    assert alive(grandchild)
    child.kill()
    assert child.exit_code == -9
    wait_until(lambda: not alive(grandchild), 10, "the end of the grandchild")


def test_one_that_ends_by_itself_leaves_no_pipe_open(start: Start) -> None:
    child = start("raise SystemExit(1)")
    wait_until(lambda: child.exit_code == 1, 10, "its end")
    assert child._process.stdin is not None
    assert child._process.stdout is not None
    assert (child._process.stdin.closed, child._process.stdout.closed) == (True, True)


def test_one_that_is_gone_hears_nothing_and_can_be_stopped(start: Start) -> None:
    child = start("pass")
    wait_until(lambda: child.exit_code == 0, 10, "its end")
    child.send({"cmd": "stop"})
    child.stop(timeout=1)
    child.kill()
    child.send({"cmd": "stop"})
    assert (child.exit_code, child.memory_mb()) == (0, 0.0)


def test_its_memory_is_seen(start: Start) -> None:
    code = "import time\nheap = bytearray(64 * 2**20); print('up', flush=True); time.sleep(60)"
    child = start(code)
    heard(child, 1)
    assert 64 < child.memory_mb() < 256


def test_a_round_steps_back_and_gets_its_environment(start: Start) -> None:
    code = (
        "import json, os, sys; print(json.dumps({'event': 'env', "
        "'threads': os.environ.get('OMP_NUM_THREADS')}), flush=True); sys.stdin.read()"
    )
    child = start(code, "adapt")
    assert heard(child, 1)[0]["threads"] == "1"
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19


def test_errors_go_to_a_log_that_does_not_grow_for_ever(start: Start) -> None:
    for _ in range(2):
        child = start("raise ValueError('so this is why')")
        wait_until(lambda child=child: child.exit_code == 1, 10, "its end")  # type: ignore[misc]
    assert child.log.read_text().count("so this is why\n") == 2
    child.log.write_text("x" * (module.LOG_LIMIT + 1))
    child = start("pass")
    wait_until(lambda: child.exit_code == 0, 10, "its end")
    assert child.log.stat().st_size == 0


def test_events_are_what_json_says(start: Start) -> None:
    event = {"event": "stats", "x": [0.1, None, True], "words": "grün"}
    assert heard(start(f"print({json.dumps(event)!r})"), 1) == [event]


def test_without_a_log_it_speaks_here(
    start: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A read-only disk must not keep a serving process from being started."""
    (tmp_path / "logs").write_text("in the way")
    child = start("import sys; print('{\"event\": \"a\"}'); print('its trouble', file=sys.stderr)")
    assert heard(child, 1) == [{"event": "a"}]
    wait_until(lambda: child.exit_code is not None, 20, "its end")
    said = capfd.readouterr().err
    assert "child.log" in said
    assert "its trouble" in said


@pytest.mark.parametrize("line", ["[" * 100_000, '{"event": ["ready"]}', '{"event": 1}', "[1]"])
def test_whatever_it_prints_is_an_event_and_it_is_heard_on(start: Start, line: str) -> None:
    said = heard(start(f'print({line!r}); print(\'{{"event": "a"}}\')'), 2)
    assert [event["event"] for event in said] == ["error", "a"]
