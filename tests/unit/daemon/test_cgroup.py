"""Caps by the kernel: a folder that behaves like cgroup v2, and the kernel where it lets us."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.adapt import AdaptConfig
from acclimate.daemon import cgroup
from acclimate.daemon.cgroup import Caps
from tests.conftest import wait_until
from tests.unit.daemon.cgroupfs import Cgroupfs
from tests.unit.daemon.test_child import Start, heard, start
from tests.unit.daemon.test_rounds import Start as StartRound
from tests.unit.daemon.test_rounds import outcome, registry
from tests.unit.daemon.test_rounds import start as start_round

__all__ = ["registry", "start", "start_round"]
ALL = ("memory", "cpu", "io", "pids")
Fake = Callable[..., Cgroupfs]


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found here is forgotten afterwards."""
    monkeypatch.setattr(cgroup, "_here", cgroup.here())
    monkeypatch.setattr(cgroup, "_refused", set())


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A cgroup of our own alone, with these controllers; with `delegated` as systemd says."""

    def made(*controllers: str, delegated: bool = True, others: tuple[int, ...] = ()) -> Cgroupfs:
        one = Cgroupfs(tmp_path, *controllers, inside=(os.getpid(), *others))
        marks = {one.unit: b"1"} if delegated else {}
        monkeypatch.setattr(cgroup, "_make", one.make)
        monkeypatch.setattr(cgroup, "_put", one.put)

        def mark(folder: Path, name: str) -> bytes:
            if folder in marks and name == "user.delegate":
                return marks[folder]
            raise OSError("no data")

        monkeypatch.setattr(os, "getxattr", mark)
        return one

    return made


def settled(one: Cgroupfs) -> Caps:
    return cgroup.settle(one.mount, one.own)


# ---- where there is one


def test_the_daemon_moves_to_a_leaf_and_makes_another(fake: Fake) -> None:
    one = fake(*ALL)
    caps = settled(one)
    assert caps.rounds == one.unit / "rounds"
    assert caps.told == "capped by the kernel: memory, cpu, io, pids of acclimate.service"
    assert (one.inside(one.unit), one.inside(one.unit / "serving")) == ([], [os.getpid()])
    assert one.says(one.unit / "serving") == {}, "what serves is not capped"
    assert settled(one) == caps == cgroup.here(), "a second daemon in this process finds it so"


def test_rounds_get_their_caps(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    one = fake(*ALL)
    settled(one)
    cgroup.confine(4711, AdaptConfig(memory_mb=300.0, cpus=0.5))
    rounds = one.unit / "rounds"
    assert one.inside(rounds) == [4711]
    assert one.says(rounds) == {
        "memory.max": str(300 * 2**20), "memory.swap.max": "0", "memory.oom.group": "1",
        "cpu.idle": "1", "cpu.max": "50000 100000", "io.weight": "default 1", "pids.max": "512",
    }  # fmt: skip
    cgroup.confine(4712, AdaptConfig(memory_mb=200.0))
    assert (rounds / "memory.max").read_text() == str(200 * 2**20)
    assert (rounds / "cpu.max").read_text() == "max 100000"
    assert capsys.readouterr().err == "", "nothing was refused"


def test_an_older_kernel_has_a_weight_instead(fake: Fake) -> None:
    one = fake(*ALL)
    settled(one)
    (one.unit / "rounds" / "cpu.idle").unlink()
    cgroup.confine(4711, None)
    assert one.says(one.unit / "rounds")["cpu.weight"] == "1"


def test_only_what_was_handed_down_is_used(fake: Fake) -> None:
    one = fake("memory")
    assert settled(one).told == "capped by the kernel: memory of acclimate.service"
    cgroup.confine(4711, AdaptConfig(cpus=0.5))
    assert set(one.says(one.unit / "rounds")) == {
        "memory.max", "memory.swap.max", "memory.oom.group",
    }  # fmt: skip


def test_background_rows_go_there_and_no_others(fake: Fake, start: Start) -> None:
    one = fake(*ALL)
    settled(one)
    children = {name: start("import sys; sys.stdin.read()", name) for name in ("runtime", "adapt")}
    assert one.inside(one.unit / "rounds") == [children["adapt"].pid]


# ---- memory runs out


def test_a_round_that_the_kernel_ended_ran_out_of_memory(
    fake: Fake, start_round: StartRound
) -> None:  # fmt: skip
    one = fake(*ALL)
    settled(one)
    killed = start_round("os.kill(os.getpid(), signal.SIGKILL)", memory_mb=700)
    assert outcome(killed).verdict == "failed", "somebody else did it"
    starved = start_round("say(event='progress', step=1); time.sleep(60)", memory_mb=700)
    events = one.unit / "rounds" / "memory.events"
    events.write_text(events.read_text().replace("oom_kill 0", "oom_kill 1"))
    starved.child._process.kill()
    ended = outcome(starved)
    assert ended.verdict == "memory"
    assert ended.reasons == ("memory ran out, 700 MiB are allowed: the kernel ended it",)
    assert outcome(start_round("sys.exit(3)", memory_mb=700)).verdict == "failed"


# ---- where there is none


def test_cgroup_v1(fake: Fake) -> None:
    one = fake(*ALL)
    one.own.write_text("4:memory:/\n1:name=systemd:/system.slice/acclimate.service\n")
    assert settled(one) == Caps(
        None, "watched, not capped by the kernel: this machine has cgroup v1"
    )
    one.own.write_text("1:memory:/\n0::/system.slice/acclimate.service\n")
    (one.mount / "cgroup.controllers").unlink()  # both, and the caps are with the old one
    assert "cgroup v1" in settled(one).told


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    assert "no cgroups" in cgroup.settle(tmp_path, tmp_path / "self").told


@pytest.mark.parametrize("user", [0, 12345])
def test_what_is_not_ours_is_left_alone(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    one = fake(*ALL, delegated=False)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert "is not delegated (systemd: Delegate=)" in settled(one).told
    assert one.inside(one.unit) == [os.getpid()]


def test_before_systemd_251_a_user_tells_by_owning_it(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fake(*ALL, delegated=False)
    monkeypatch.setattr(os, "geteuid", lambda: one.unit.stat().st_uid or 12345)
    if one.unit.stat().st_uid == 0:
        os.chown(one.unit, 12345, -1)
    assert settled(one).rounds is not None


def test_the_root_is_nobodys(fake: Fake) -> None:
    one = fake(*ALL)
    one.own.write_text("0::/\n")
    assert "the cgroup / is not delegated" in settled(one).told


def test_a_shell_beside_it_keeps_its_place(fake: Fake) -> None:
    one = fake(*ALL, others=(99,))
    assert "has other processes, too" in settled(one).told
    assert one.inside(one.unit) == [os.getpid(), 99]


def test_no_controller_at_all(fake: Fake) -> None:
    assert "was given no controller" in settled(fake()).told


# ---- where the kernel refuses


@pytest.mark.parametrize("file", ["cgroup.procs", "cgroup.subtree_control"])
def test_what_cannot_be_set_up_is_done_without(fake: Fake, file: str) -> None:
    one = fake(*ALL)
    one.stubborn.add(file)
    assert settled(one).rounds is None
    assert settled(one).told.startswith("watched, not capped by the kernel: ")
    cgroup.confine(4711, AdaptConfig())
    assert cgroup.kills() == 0


def test_a_cap_that_is_refused_is_said_once_and_the_child_runs(
    fake: Fake, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    one = fake(*ALL)
    settled(one)
    one.stubborn |= {"memory.swap.max", "cgroup.procs"}
    for _ in range(2):
        heard(start('print(\'{"event": "up"}\')', "adapt"), 1)
    assert one.says(one.unit / "rounds")["memory.oom.group"] == "1"
    said = capsys.readouterr().err
    assert (said.count("memory.swap.max"), said.count("cgroup.procs")) == (1, 1)


def test_a_group_that_went_away_is_no_trouble(fake: Fake, start: Start) -> None:
    one = fake(*ALL)
    settled(one)
    shutil.rmtree(one.unit / "rounds")
    heard(start('print(\'{"event": "up"}\')', "adapt"), 1)
    assert cgroup.kills() == 0


# ---- the kernel itself

REAL = """
import json, os, subprocess, sys
from pathlib import Path
from acclimate.configs.adapt import AdaptConfig
from acclimate.daemon import cgroup
mount = Path(sys.argv[1])
unit = mount / "acclimate-test"
(unit / "cgroup.procs").write_text(str(os.getpid()))
os.setxattr(unit, "user.delegate", b"1")
caps = cgroup.settle(mount)
kills, code = cgroup.kills(), None
hungry = "import sys; sys.stdin.readline(); x = bytearray(200 * 2**20); print(len(x))"
child = subprocess.Popen([sys.executable, "-S", "-c", hungry], stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, text=True)
cgroup.confine(child.pid, AdaptConfig(memory_mb=50))
places = [(unit / name / "cgroup.procs").read_text().split() for name in ("serving", "rounds")] \
    if caps.rounds else None
child.communicate("go\\n")
print(json.dumps({
    "told": caps.told, "own": Path("/proc/self/cgroup").read_text().strip(),
    "right": places == [[str(os.getpid())], [str(child.pid)]],
    "code": child.returncode, "kills": cgroup.kills() - kills,
}))
"""


def privately(mount: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run with cgroup v2 of this machine's kernel mounted there, for nobody else to see."""
    whole = f"mount -t cgroup2 none {mount} && {script}"
    return subprocess.run(["unshare", "-m", "sh", "-c", whole], check=False, capture_output=True,
                          text=True, timeout=120)  # fmt: skip


@pytest.fixture
def told(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What a process in a group of its own found, and what became of a child of it that took
    200 MiB with 50 allowed."""
    mount, program = tmp_path / "mount", tmp_path / "unit.py"
    mount.mkdir()
    program.write_text(REAL)
    group = mount / "acclimate-test"
    if shutil.which("unshare") is None or privately(mount, f"mkdir {group}").returncode:
        pytest.skip("cgroup v2 cannot be mounted here")
    done = privately(mount, f"exec {sys.executable} {program} {mount}")
    leaves = f"{group}/rounds {group}/serving {group}"
    wait_until(lambda: not privately(mount, f"rmdir {leaves}").returncode, 20, "an empty group")
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout)


def test_the_kernel_divides_a_group_as_the_folder_does(told: dict[str, Any]) -> None:
    assert told["own"].endswith("/acclimate-test/serving")
    if "no controller" in told["told"]:
        pytest.skip("every controller belongs to cgroup v1 here")
    assert told["told"].startswith("capped by the kernel: ")
    assert told["right"]


def test_the_kernel_ends_what_takes_too_much(told: dict[str, Any]) -> None:
    if "memory" not in told["told"]:
        pytest.skip("memory belongs to cgroup v1 here")
    assert (told["code"], told["kills"]) == (-9, 1)
