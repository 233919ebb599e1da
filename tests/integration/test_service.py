"""A real daemon under a service manager's eyes, and signals at awkward moments."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from acclimate.daemon.client import holder_of
from acclimate.daemon.registry import Registry
from acclimate.errors import AcclimateError
from acclimate.runtime.bundle import load_bundle
from acclimate.runtime.engine import EngineInfo
from tests.conftest import wait_until
from tests.integration.conftest import QUICK, Daemon
from tests.integration.test_faults import served
from tests.integration.test_shadow import made

CALM = "world:seed=3,fps=8"
STILL: dict[str, Any] = {"adapt": {"enabled": False}}
WATCHDOG = 4.0
RUNTIME = "acclimate.runtime.main"


class Manager:
    """Stands in for systemd: hears what it is told, oldest first; `fed` is when it was last fed."""

    def __init__(self, path: Path) -> None:
        self.told: list[list[str]] = []
        self.fed = float("inf")
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._line.bind(str(path))
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()

    def _listen(self) -> None:
        while words := self._line.recv(4096):
            self.told.append(words.decode().split("\n"))
            if "WATCHDOG=1" in self.told[-1]:
                self.fed = time.monotonic()

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(b"", self._line.getsockname())
        self._ear.join(10)
        self._line.close()

    @property
    def would_bite(self) -> bool:
        """Was it not fed for too long?"""
        return time.monotonic() - self.fed > WATCHDOG

    def count(self, field: str) -> int:
        """How often it was told this."""
        return sum(field in message for message in self.told)

    def wait(self, field: str, count: int = 1, seconds: float = 60) -> None:
        wait_until(lambda: self.count(field) >= count, seconds, f"{count} {field}")


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """The manager of all daemons of a test; it waits WATCHDOG seconds for their loop."""
    one = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", str(int(1e6 * WATCHDOG)))
    yield one
    one.close()


def write(daemon: Daemon, **settings: Any) -> None:
    """Another configuration where it reads its own."""
    merged = {k: {**QUICK.get(k, {}), **settings.get(k, {})} for k in QUICK | settings}
    (daemon.state.parent / "config.yaml").write_text(yaml.safe_dump(merged))


def resolved(daemon: Daemon) -> dict[str, Any]:
    """What a runtime that is started now goes by."""
    found: dict[str, Any] = json.loads((daemon.state / "config.json").read_text())
    return found


def test_ready_with_frames_and_starved_while_the_runtime_is_frozen(
    start: Callable[..., Daemon], manager: Manager
) -> None:
    daemon = start("--source", CALM, **STILL)
    manager.wait("READY=1")
    assert served(daemon) > 0
    manager.wait("WATCHDOG=1", manager.count("WATCHDOG=1") + 3)
    runtime = daemon.child(RUNTIME)
    assert b"NOTIFY_SOCKET" not in Path(f"/proc/{runtime}/environ").read_bytes()
    os.kill(runtime, signal.SIGSTOP)
    wait_until(lambda: manager.would_bite, 60, "the watchdog")
    assert daemon.process.poll() is None
    before = manager.count("WATCHDOG=1")
    os.kill(runtime, signal.SIGCONT)
    manager.wait("WATCHDOG=1", before + 3)
    code, ledger = daemon.stop()
    assert (code, ledger["balanced"]) == (0, True)
    assert (manager.count("READY=1"), manager.count("STOPPING=1")) == (1, 1)


def test_a_reload_keeps_the_old_or_takes_the_new(
    start: Callable[..., Daemon], manager: Manager
) -> None:
    daemon = start(source={"url": CALM}, **STILL)
    manager.wait("READY=1")
    runtime = daemon.child(RUNTIME)

    write(daemon, source={"url": CALM, "colour": 3}, drift={"threshold": -1}, **STILL)
    daemon.process.send_signal(signal.SIGHUP)
    problems = daemon.wait("config_refused")[0]["problems"]
    assert [problem.split(":")[0] for problem in problems] == ["source.colour", "drift.threshold"]
    write(daemon, source={"url": CALM}, model={"weights": "augmented"}, **STILL)
    daemon.process.send_signal(signal.SIGHUP)
    assert "model.weights" in daemon.wait("config_refused", 2)[1]["problems"][0]
    manager.wait("READY=1", 3)

    write(daemon, source={"url": CALM}, drift={"threshold": 5.0}, **STILL)
    daemon.process.send_signal(signal.SIGHUP)
    changed = daemon.wait("config_reloaded")[0]["changed"]
    assert changed == {"drift.threshold": [QUICK["drift"]["threshold"], 5.0]}
    assert daemon.child(RUNTIME) == runtime, "nothing was started for that"

    write(daemon, source={"url": "/nowhere.mp4"}, **STILL)
    daemon.process.send_signal(signal.SIGHUP)
    assert "/nowhere.mp4" in daemon.wait("config_refused", 3)[2]["problems"][0]
    assert children(daemon, RUNTIME) == [runtime], "it never stopped serving"
    assert resolved(daemon)["source"]["url"] == CALM
    before = served(daemon)
    wait_until(lambda: served(daemon) > before + 4, 60, "frames by the old configuration")

    write(daemon, source={"url": "world:seed=4,fps=8"}, **STILL)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait("config_reloaded", 2)
    assert runtime not in children(daemon, RUNTIME)
    before = served(daemon)
    wait_until(lambda: served(daemon) > before + 4, 60, "frames of the new source")
    manager.wait("READY=1", 6)
    assert manager.count("RELOADING=1") == 5
    code, ledger = daemon.stop()
    assert (code, ledger["balanced"]) == (0, True)
    assert not daemon.events("runtime_died")


def loading(daemon: Daemon, **settings: Any) -> tuple[int, int]:
    """Reload with these; the old runtime and the one that loads."""
    (old,) = children(daemon, RUNTIME)
    write(daemon, **settings)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(children(daemon, RUNTIME)) == 2, 30, "a fresh runtime")
    (fresh,) = {*children(daemon, RUNTIME)} - {old}
    return old, fresh


def test_the_old_one_serves_until_the_new_one_has_loaded(start: Callable[..., Daemon]) -> None:
    daemon = start(source={"url": CALM}, **STILL)
    daemon.wait("serving")
    old, fresh = loading(daemon, source={"url": CALM}, serving={"threads": 2}, **STILL)
    os.kill(fresh, signal.SIGSTOP)
    before = served(daemon)
    wait_until(lambda: served(daemon) > before + 16, 60, "frames of the old one")
    assert resolved(daemon)["serving"]["threads"] == 1, "what a start after a power cut would find"
    assert {*children(daemon, RUNTIME)} == {old, fresh}
    os.kill(fresh, signal.SIGCONT)
    assert list(daemon.wait("config_reloaded")[0]["changed"]) == ["serving.threads"]
    assert children(daemon, RUNTIME) == [fresh]
    assert resolved(daemon)["serving"]["threads"] == 2
    before = served(daemon)
    wait_until(lambda: served(daemon) > before + 8, 60, "frames of the new one")
    assert not (daemon.state / "config.wanted.json").exists()
    code, ledger = daemon.stop()
    assert (code, ledger["balanced"]) == (0, True)
    assert set(ledger["dropped"]) <= {"superseded", "stopped"}, "nothing is lost"


def test_what_shows_only_when_files_are_opened_brings_the_old_one_back(
    start: Callable[..., Daemon], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "rear").touch()
    daemon = start("--out", str(tmp_path / "out"), source={"url": CALM}, **STILL)
    daemon.wait("serving")
    write(daemon, cameras={"front": {"url": CALM}, "rear": {"url": CALM}}, **STILL)
    daemon.process.send_signal(signal.SIGHUP)
    (problem,) = daemon.wait("config_refused")[0]["problems"]
    assert "the runtime did not start with it" in problem
    assert "File exists" in problem
    daemon.wait("serving", 2)
    assert (resolved(daemon)["source"]["url"], resolved(daemon)["cameras"]) == (CALM, {})
    before = served(daemon)
    wait_until(lambda: served(daemon) > before + 4, 60, "frames by the old configuration")
    code, ledger = daemon.stop()
    assert (code, ledger["balanced"], len(daemon.events("runtime_died"))) == (0, True, 1)


# ---- SIGTERM at awkward moments


def test_while_the_engine_is_exported(tmp_path: Path, manager: Manager) -> None:
    daemon = Daemon(tmp_path / "empty", ["--source", CALM], QUICK)
    with daemon.process:
        wait_until(lambda: children(daemon, "acclimate.export.main"), 30, "the export")
        (export,) = children(daemon, "acclimate.export.main")
        manager.wait("STATUS=preparing the engine")
        daemon.process.send_signal(signal.SIGTERM)
        said, _ = daemon.process.communicate(timeout=30)
        assert (daemon.process.returncode, "before anything was served" in said) == (0, True), said
        assert not Path(f"/proc/{export}").exists()
    assert manager.count("READY=1") == 0
    assert not (tmp_path / "empty" / "config.json").exists(), "it is for what is whole"


def children(daemon: Daemon, module: str) -> list[int]:
    """Process ids of its children that run `module`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if module.encode() in words and parent == daemon.process.pid:
                found.append(int(folder.name))
    return found


def test_while_a_fresh_runtime_loads(start: Callable[..., Daemon]) -> None:
    daemon = start(source={"url": CALM}, **STILL)
    daemon.wait("serving")
    running = loading(daemon, source={"url": CALM}, serving={"threads": 2}, **STILL)
    os.kill(running[1], signal.SIGSTOP)
    code, ledger = daemon.stop()
    assert (code, ledger["balanced"]) == (0, True)
    assert not any(Path(f"/proc/{pid}").exists() for pid in running)
    assert daemon.events("config_refused")[0]["problems"] == ["the daemon stopped"]
    assert resolved(daemon)["serving"]["threads"] == 1


@pytest.mark.parametrize("event", ["started", "serving"])
def test_before_it_is_ready(start: Callable[..., Daemon], event: str) -> None:
    daemon = start("--source", CALM, **STILL)
    daemon.wait(event)
    code, ledger = daemon.stop()
    assert (code, ledger["balanced"]) == (0, True)


def roll_back(state: Path) -> None:
    """Ask for it, whatever becomes of the answer."""
    with contextlib.suppress(AcclimateError, OSError), holder_of(state) as daemon:
        assert daemon is not None
        daemon.call("POST", "/v1/rollback", {"to": "one"})


@pytest.mark.parametrize("event", ["rolled_back", "swapped"])
def test_during_a_swap(
    state: Path, tmp_path: Path, start: Callable[..., Daemon], event: str
) -> None:
    registry = Registry(state)
    for name in ("one", "two"):
        registry.adopt(name, made(state, tmp_path / name, 0.01))
        registry.activate(name)
        registry.trust(name)
    daemon = start("--source", CALM, **STILL)
    daemon.wait("serving")
    wait_until(lambda: served(daemon) > 4, 60, "frames")
    asking = threading.Thread(target=roll_back, args=(state,), daemon=True)
    asking.start()
    daemon.wait(event)
    code, ledger = daemon.stop()
    assert (code, ledger["balanced"]) == (0, True)
    after, info = Registry(state), EngineInfo.load(state / "engine")
    assert after.state.active in {"one", "two"}
    assert after.state.quarantined == {"two": "manual"}
    assert after.state.good == ["base", "one"]
    for name in after.names():
        load_bundle(after.folder_of(name), info)
    again = start("--source", CALM, **STILL)
    assert again.wait("serving", 2)[1]["adapter"] == "one"
    assert again.stop()[0] == 0
