"""Commands that come line by line."""

from __future__ import annotations

import io
import os
import queue
import sys
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from acclimate.runtime import listen as module
from acclimate.runtime.listen import listen
from acclimate.runtime.main import Runtime


def test_when_the_daemon_is_gone_it_stops_and_has_a_while_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = SimpleNamespace(commands=queue.Queue(), stop=threading.Event(), go=threading.Event())
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"cmd": "purge", "hours": 1}\n'))
    given: list[float] = []
    monkeypatch.setattr(module, "end_soon", given.append)
    module.listen(cast(Runtime, runtime), 7.0)
    assert (runtime.commands.get_nowait(), given) == ({"cmd": "purge", "hours": 1.0}, [7.0])
    assert (runtime.stop.is_set(), runtime.go.is_set()) == (True, False)


@pytest.mark.parametrize("order", ["go", "stop"])
def test_what_cannot_wait_for_its_turn(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = SimpleNamespace(commands=queue.Queue(), stop=threading.Event(), go=threading.Event())
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "w", buffering=1) as daemon:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(module, "end_soon", lambda _: None)
        ear = threading.Thread(target=module.listen, args=(runtime, 7.0))
        ear.start()
        daemon.write(f'{{"cmd": "{order}"}}\n')
        assert getattr(runtime, order).wait(20)
        daemon.close()
        ear.join()
    assert runtime.commands.empty()


@pytest.mark.parametrize(
    "line",
    ["[" * 100_000, "5", "{}", '{"cmd": "purge"}', '{"cmd": "purge", "hours": "x"}',
     '{"cmd": "tell"}', '{"cmd": "complain"}', '{"cmd": ["stop"]}',
     f'{{"cmd": "purge", "hours": 1{"0" * 400}}}'],
)  # fmt: skip
def test_a_line_that_is_no_command_is_complained_of(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    runtime = Runtime.__new__(Runtime)
    runtime.commands, runtime.say = queue.Queue(), told.append
    runtime.stop, runtime.go = threading.Event(), threading.Event()
    monkeypatch.setattr(sys, "stdin", io.StringIO(line + "\n"))
    monkeypatch.setattr(module, "end_soon", lambda _: None)
    listen(runtime, 7.0)
    runtime._obey()
    assert runtime.stop.is_set(), "the end of stdin stops"
    assert [event["message"][:13] for event in told] == ["not a command"]
