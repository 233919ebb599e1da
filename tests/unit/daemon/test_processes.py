"""The process table is the one truth: each row's policy is what happens when it crashes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from acclimate.configs.adapt import AdaptConfig
from acclimate.configs.schema import Config, DaemonConfig, parse_config
from acclimate.daemon import child, engines, jobs, main, reproduce, weights
from acclimate.daemon.cli import parser
from acclimate.daemon.metrics import Metrics
from acclimate.daemon.processes import PROCESSES, Process, environment, restarts
from acclimate.daemon.rounds import RoundProcess
from acclimate.daemon.serving import Serving
from acclimate.errors import EngineError, ExportError
from acclimate.runtime.parent import PARENT
from tests.conftest import wait_until
from tests.unit.daemon.conftest import House
from tests.unit.daemon.test_rewording import THREE
from tests.unit.daemon.test_rounds import outcome

CRASH = [sys.executable, "-S", "-c", "import os; os.kill(os.getpid(), 9)"]
LIVES = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
ROWS = {
    after: [name for name, row in PROCESSES.items() if row.after_crash == after]
    for after in ("restart", "drop", "end")
}


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process that is started is killed at once."""
    for module in (child, engines, jobs, main, reproduce, weights):
        monkeypatch.setattr(module, "command", lambda *_: CRASH)


# ---- restart


def test_one_serving_process_follows_the_other_within_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ROWS["restart"] == ["runtime"]
    monkeypatch.setattr(child, "command", lambda *_: LIVES)
    serving = Serving(DaemonConfig(max_restarts=2), tmp_path, [], Metrics())
    for _ in range(restarts("runtime", DaemonConfig(max_restarts=2))):
        serving.start("base", Path("words.yaml"))
        assert serving.pid is not None
        os.kill(serving.pid, signal.SIGKILL)
        wait_until(serving.died, 20, "its end")
    with pytest.raises(EngineError, match="died 2 times"):
        serving.start("base", Path("words.yaml"))


def test_a_row_that_says_otherwise_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: None
) -> None:
    monkeypatch.setitem(PROCESSES, "runtime", Process("acclimate.runtime.main", "end"))
    serving = Serving(DaemonConfig(), tmp_path, [], Metrics())
    serving.start("base", Path("words.yaml"))
    wait_until(serving.died, 20, "its end")
    with pytest.raises(EngineError, match="died 1 times"):
        serving.start("base", Path("words.yaml"))


@pytest.mark.parametrize("name", [*ROWS["drop"], *ROWS["end"]])
def test_no_other_row_is_started_again(name: str) -> None:
    assert restarts(name, DaemonConfig()) == 0


# ---- drop


def test_a_round_is_lost_and_nothing_else(house: House, crash: None) -> None:
    ended = outcome(RoundProcess(Config(), house.life.registry, "drift"))
    assert (ended.verdict, ended.candidate) == ("failed", None)
    assert "killed by signal 9" in ended.reasons[0]
    assert house.state.active == "base"


def test_other_words_are_refused_and_the_old_ones_serve_on(house: House, crash: None) -> None:
    now = house.life.rewording
    before = now.served
    assert now.begin({"id": "me", "vocabulary": THREE.content}, {})

    def answered() -> bool:
        now.watch()
        return now.answers["me"]["state"] == "refused"

    wait_until(answered, 20, "an answer")
    assert "the words process ended with code -9" in now.answers["me"]["message"]
    assert (now.served, now.now) == (before, None)


def test_these_are_all_that_are_dropped() -> None:
    assert ROWS["drop"] == ["adapt", "words"]


# ---- end


@pytest.mark.parametrize(("name", "torch"), [("export", True), ("build", False)])
def test_the_daemon_does_not_start_without_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: None, name: str, torch: bool
) -> None:
    assert name in ROWS["end"]
    monkeypatch.setattr(main, "can_adapt", lambda: torch)
    monkeypatch.setattr(main, "_as_it_is", lambda *_: None)
    with pytest.raises(ExportError, match="exit code -9"):
        main.prepare(Config(), tmp_path)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("name", ["offline", "reference"])
def test_a_job_ends_with_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: None, name: str
) -> None:
    assert name in ROWS["end"]
    (tmp_path / "config.json").write_text("{}")
    protocol = {"offline": "served", "reference": "whole"}[name]
    asked = ["segment", "in", "--out", "o", "--state", str(tmp_path), "--protocol", protocol]
    options = parser().parse_args([*asked, "--classes", "road,sky"])
    assert options.action(options) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("engines", "list --state ."),
        ("weights", f"inspect {__file__}"),
        ("reproduce", f"vocalign --dataset ade --data . --weights {__file__}"),
    ],
)
def test_a_command_ends_with_its_process(name: str, asked: str, crash: None) -> None:
    assert name in ROWS["end"]
    options = parser().parse_args([name, *asked.split()])
    assert options.action(options) == -signal.SIGKILL


# ---- environments


def told(name: str, limits: AdaptConfig | None = None) -> dict[str, str]:
    """What is added to the daemon's own environment."""
    return {key: value for key, value in environment(name, limits).items() if key not in os.environ}


def test_each_child_knows_its_daemon() -> None:
    assert told("runtime") == {PARENT: str(os.getpid())}
    assert environment("export")["PATH"] == os.environ["PATH"]


def test_a_round_has_one_thread_and_yields_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ours = {PARENT: str(os.getpid()), "OMP_NUM_THREADS": "1"}
    assert told("words") == ours
    assert told("adapt", AdaptConfig()) == {**ours, "CUDA_MPS_CLIENT_PRIORITY": "1"}


def test_a_share_of_the_gpu_is_for_the_round_alone() -> None:
    config = parse_config({"adapt": {"gpu_share": 0.3, "memory_mb": 2500, "device": "cuda"}})
    got = environment("adapt", config.adapt)
    assert got["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "30"
    assert got["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=2500M"
    for name in ("runtime", "words"):
        assert not any(key.startswith("CUDA_MPS") for key in told(name, config.adapt))
