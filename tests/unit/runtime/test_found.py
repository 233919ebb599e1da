"""What is found on a machine with a GPU, told by whatever is installed, and on one without."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from acclimate.runtime import found
from acclimate.runtime.found import Gpu, find

ORIN = "NVIDIA RTX A2000, 8.6, 6138, 535.104.05\n"


class Status(int):
    """An error code as cuda-bindings give it."""


def cuda(monkeypatch: pytest.MonkeyPatch, count: tuple[int, object], card: object) -> None:
    """cuda.bindings.runtime as if on a machine with (or without) a card."""
    runtime = SimpleNamespace(
        cudaGetDeviceCount=lambda: (Status(count[0]), count[1]),
        cudaGetDeviceProperties=lambda index: (Status(0), card),
        cudaDriverGetVersion=lambda: (Status(0), 13050),
    )
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
    monkeypatch.setattr(found, "_version", lambda module: "13.5.0")


@pytest.fixture
def card() -> object:
    name = b"NVIDIA H100 80GB HBM3" + b"\0" * 10
    return SimpleNamespace(name=name, major=9, minor=0, totalGlobalMem=85_520_809_984)


def files(monkeypatch: pytest.MonkeyPatch, folder: Path, kernel: str, tegra: str) -> None:
    for name, text in (("_KERNEL", kernel), ("_TEGRA", tegra)):
        path = folder / name
        if text:
            path.write_text(text)
        monkeypatch.setattr(found, name, path)


def test_a_card_with_its_driver(
    monkeypatch: pytest.MonkeyPatch, card: object, tmp_path: Path
) -> None:
    cuda(monkeypatch, (0, 1), card)
    text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build"
    files(monkeypatch, tmp_path, text + "  (dvs-builder)  Mon\nGCC version: 11\n", "")
    assert find().gpu == Gpu("NVIDIA H100 80GB HBM3", (9, 0), 81559, "580.159.04")


def test_a_jetson_has_a_release_in_place_of_a_driver(
    monkeypatch: pytest.MonkeyPatch, card: object, tmp_path: Path
) -> None:
    cuda(monkeypatch, (0, 1), card)
    text = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n"
    files(monkeypatch, tmp_path, "", text)
    gpu = find().gpu
    assert gpu is not None and gpu.driver == "R36 (release), REVISION: 4.3"


def test_neither_told_leaves_the_driver_s_cuda(
    monkeypatch: pytest.MonkeyPatch, card: object, tmp_path: Path
) -> None:
    cuda(monkeypatch, (0, 1), card)
    files(monkeypatch, tmp_path, "", "")
    gpu = find().gpu
    assert gpu is not None and gpu.driver == "CUDA 13.5"


@pytest.mark.parametrize("count", [(35, None), (100, None), (0, 0)])
def test_no_driver_and_no_card_are_no_gpu(
    monkeypatch: pytest.MonkeyPatch, card: object, count: tuple[int, object]
) -> None:
    cuda(monkeypatch, count, card)
    assert find().gpu is None


def smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(found, "_version", lambda module: None)


def test_without_bindings_nvidia_smi_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    smi(tmp_path, f"echo '{ORIN}'", monkeypatch)
    assert find().gpu == Gpu("NVIDIA RTX A2000", (8, 6), 6138, "535.104.05")


def test_a_jetson_s_nvidia_smi_tells_no_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    smi(tmp_path, "echo 'Orin (nvgpu), 8.7, [N/A], 540.4.0'", monkeypatch)
    assert find().gpu == Gpu("Orin (nvgpu)", (8, 7), 0, "540.4.0")


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "echo"])
def test_nothing_that_nvidia_smi_says_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str
) -> None:
    smi(tmp_path, script, monkeypatch)
    assert find().gpu is None


def test_nothing_installed_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(found, "_version", lambda module: None)
    assert find().gpu is None


def test_bindings_that_do_not_load_leave_nvidia_smi(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    smi(tmp_path, f"echo '{ORIN}'", monkeypatch)
    monkeypatch.setattr(found, "_version", lambda module: "13.5.0")
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    gpu = find().gpu
    assert gpu is not None and gpu.name == "NVIDIA RTX A2000"


def test_versions_come_without_an_import() -> None:
    import onnxruntime

    version = find().libraries["onnxruntime"]
    assert version == onnxruntime.__version__
    assert "tensorrt" not in sys.modules


def test_a_processor_has_a_name() -> None:
    assert found.processor()
