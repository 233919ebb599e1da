"""A daemon that starts on a disk which became read-only, and a disk that comes back."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.schema import parse_config
from acclimate.daemon import checks, doctor
from acclimate.daemon.checks import Patient
from acclimate.daemon.client import Daemon as Control
from acclimate.daemon.main import only_one
from acclimate.daemon.status import read_status
from acclimate.errors import ConfigError
from tests.conftest import wait_until
from tests.integration.conftest import Daemon, start  # noqa: F401
from tests.integration.test_alerts import free_port
from tests.integration.test_faults import served

Mount = Callable[[str], None]


@pytest.fixture
def mount(state: Path) -> Iterator[Mount]:
    """Make the state folder read-only with "ro" and writable again with "rw"."""

    def mounted(*words: str | Path) -> bool:
        return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0

    def remount(how: str) -> None:
        assert mounted("-o", f"remount,bind,{how}", state)

    if shutil.which("mount") is None or not mounted("--bind", state, state):
        pytest.skip("nothing can be mounted here")
    yield remount
    subprocess.run(["umount", "--lazy", state], check=True)


def serves(daemon: Daemon, frames: int = 8) -> None:
    """More frames than there were."""
    wait_until(lambda: read_status(daemon.state)["daemon"], 90, "an answer")
    before = served(daemon)
    wait_until(lambda: served(daemon) > before + frames, 90, "frames")


def trouble(state: Path) -> Any:
    """What `acclimate status` says."""
    return read_status(state)["trouble"]


@pytest.mark.parametrize("fps", [8, 9], ids=["as before", "with another camera"])
def test_what_is_active_serves_from_a_read_only_disk_until_it_can_be_written(
    start: Callable[..., Daemon], mount: Mount, state: Path, fps: int  # noqa: F811
) -> None:  # fmt: skip
    settings: dict[str, Any] = {"adapt": {"enabled": False}, "daemon": {"http_port": free_port()}}
    first = start("--source", "world:seed=3,fps=8", **settings)
    first.wait("serving")
    assert first.stop()[0] == 0
    before = {path: path.stat().st_mtime_ns for path in state.rglob("*")}
    mount("ro")

    daemon = start("--source", f"world:seed=3,fps={fps}", **settings)
    serves(daemon)
    assert "Read-only file system" in trouble(state)
    found = doctor.daemon(Patient(state, parse_config({}), read_status(state)))
    assert (found.state, "Read-only" in found.message) == ("problem", True)
    rights = checks.rights(Patient(state, parse_config({}), None))
    assert rights is not None
    assert "may not write" not in rights.message, "nobody may: it is not a matter of rights"
    with urllib.request.urlopen(f"{read_status(state)['daemon']}/metrics", timeout=5) as answer:
        assert b"\nacclimate_trouble 1.0\n" in answer.read()
    with pytest.raises(ConfigError, match="another acclimate runs"), only_one(state):
        pass
    assert {path: path.stat().st_mtime_ns for path in state.rglob("*")} == before

    mount("rw")
    wait_until(lambda: trouble(state) is None, 30, "the end of the trouble")
    serves(daemon)
    assert json.loads((state / "daemon.json").read_text())["pid"] == daemon.process.pid
    assert Control(state / "control.sock").call("GET", "/v1/status")["active"] == "base"
    code, ledger = daemon.stop()
    assert (code, ledger["balanced"]) == (0, True), ledger


def test_it_ends_as_it_should_on_a_disk_that_stays_read_only(
    start: Callable[..., Daemon], mount: Mount, state: Path  # noqa: F811
) -> None:  # fmt: skip
    settings: dict[str, Any] = {"adapt": {"enabled": False}, "daemon": {"http_port": free_port()}}
    first = start("--source", "world:seed=3,fps=8", **settings)
    first.wait("serving")
    assert first.stop()[0] == 0
    mount("ro")
    daemon = start("--source", "world:seed=3,fps=8", **settings)
    serves(daemon)
    daemon.process.terminate()
    said, _ = daemon.process.communicate(timeout=30)
    assert daemon.process.returncode == 0, said
    assert "adaptation waits, serving goes on" in said
    assert "control by socket is off" in said
    assert "stopped; " in said, said
    assert "Traceback" not in said
