"""The doctor on a round's share of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.schema import parse_config
from acclimate.daemon import cgroup, shares
from acclimate.daemon.checks import Patient
from tests.unit.daemon.test_doctor import found

CAPPED = "capped by the kernel: memory, cpu, io, pids of acclimate.service"
WATCHED = "watched, not capped by the kernel: this machine has cgroup v1"


def patient(told: str | None = None, **adapt: Any) -> Patient:
    """With a running daemon where it tells something."""
    status = None if told is None else {"caps": told}
    return Patient(Path("state"), parse_config({"adapt": adapt}), status)


@pytest.mark.parametrize("told", [CAPPED, WATCHED])
def test_the_running_daemon_says_which_of_the_two_holds(told: str) -> None:
    one = found(shares.caps, patient(told))
    assert (one.state, one.message) == ("ok", f"rounds are {told}")


def test_processors_that_nobody_keeps_are_a_warning() -> None:
    assert found(shares.caps, patient(CAPPED, cpus=0.5)).state == "ok"
    for told in (WATCHED, "capped by the kernel: memory of cpu.service"):
        one = found(shares.caps, patient(told, cpus=0.5))
        assert (one.state, "adapt.cpus (0.5) is not kept" in one.message) == ("warning", True)


def test_without_a_daemon_it_depends_on_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "MOUNT", tmp_path)
    assert "no cgroup v2" in found(shares.caps, patient()).message
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    assert "Delegate=" in found(shares.caps, patient()).message
    assert shares.caps(patient(enabled=False)) is None


def test_sharing_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert shares.gpu_sharing(patient()) is None
    asked = patient(gpu_share=0.3, device="cuda")
    one = found(shares.gpu_sharing, asked)
    assert (one.state, str(tmp_path) in one.message) == ("warning", True)
    (tmp_path / "nvidia-cuda-mps-control.pid").write_text("7\n")
    assert found(shares.gpu_sharing, asked).state == "ok"
    assert found(shares.gpu_sharing, patient()).state == "ok"
    idle = found(shares.gpu_sharing, patient(gpu_share=0.3))
    assert (idle.state, "adapt.gpu_share does nothing" in idle.message) == ("warning", True)
