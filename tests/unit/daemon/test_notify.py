"""What goes over a service manager's socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from acclimate.daemon.notify import Notifier, longer, monotonic


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket as systemd has one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.settimeout(5)
        yield one


def test_a_message_is_one_datagram(manager: socket.socket) -> None:
    assert Notifier(manager.getsockname()).tell("READY=1", "STATUS=well")
    assert manager.recv(4096) == b"READY=1\nSTATUS=well"


def test_what_is_told_cannot_say_more_than_it_should(manager: socket.socket) -> None:
    assert Notifier(manager.getsockname()).tell("STATUS=a camera named\nREADY=1\n")
    assert manager.recv(4096) == b"STATUS=a camera named READY=1"


def test_an_abstract_address() -> None:
    name = f"acclimate-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind("\0" + name)
        one.settimeout(5)
        assert Notifier("@" + name).tell("READY=1")
        assert one.recv(4096) == b"READY=1"


def test_nobody_to_tell(tmp_path: Path) -> None:
    assert not Notifier().tell("READY=1")
    assert not Notifier(str(tmp_path / "nowhere")).tell("READY=1")
    assert not Notifier("/" + "x" * 200).tell("READY=1"), "longer than an address can be"


def test_a_manager_that_does_not_listen_is_not_waited_for(manager: socket.socket) -> None:
    one = Notifier(manager.getsockname())
    told = [one.tell("WATCHDOG=1") for _ in range(5000)]
    assert told[0]
    assert not told[-1], "its queue is full"


def test_the_environment_is_read_and_emptied() -> None:
    given = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    environment = {"HOME": "/", **given}
    one = Notifier.from_environment(environment)
    assert (one._address, one.watchdog_s) == ("/n", 30.0)
    assert environment == {"HOME": "/"}, "a child must not speak for the daemon"


@pytest.mark.parametrize(
    "given",
    [{}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}],
    ids=["none", "another's", "odd"],
)
def test_no_watchdog(given: dict[str, str]) -> None:
    assert Notifier.from_environment(given).watchdog_s == 0


def test_times_are_in_microseconds() -> None:
    assert longer(1.5) == "EXTEND_TIMEOUT_USEC=1500000"
    code = "import time; print(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)"
    before = int(monotonic().removeprefix("MONOTONIC_USEC="))
    other = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, check=True)
    assert before <= int(other.stdout) <= int(monotonic().removeprefix("MONOTONIC_USEC="))
