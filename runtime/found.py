"""What this machine has: its GPU, NVIDIA's and ONNX Runtime's libraries, their versions.

Nothing here imports a GPU library that is not needed: versions come from what is installed, the
card from CUDA's own bindings, or from `nvidia-smi` where those are not installed.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import subprocess
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import onnxruntime as ort

from acclimate.errors import EngineLoadError
from acclimate.runtime.device import first_card

# Module -> the distributions that bring it; NVIDIA names them by CUDA version.
LIBRARIES = {
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "tensorrt_rtx": ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12"),
    "cuda.bindings": ("cuda-bindings",),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime"),
}
_KERNEL = Path("/proc/driver/nvidia/version")
_TEGRA = Path("/etc/nv_tegra_release")
_PROCESSOR = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Gpu:
    """A card that CUDA can use: `capability` (8, 9), memory in MB, the driver's version."""

    name: str
    capability: tuple[int, int]
    memory_mb: int
    driver: str

    @property
    def label(self) -> str:
        """Name and compute capability, as engines are labelled with."""
        return f"{self.name} (compute {self.capability[0]}.{self.capability[1]})"


@dataclass(frozen=True)
class Found:
    """The first GPU or None; module -> version of what is installed; ONNX Runtime's providers."""

    gpu: Gpu | None = None
    libraries: dict[str, str] = field(default_factory=dict)
    providers: tuple[str, ...] = ("CPUExecutionProvider",)


def find() -> Found:
    """Look once; takes milliseconds, up to seconds where only nvidia-smi can be asked."""
    libraries = {name: found for name in LIBRARIES if (found := _version(name))}
    gpu = _ask_cuda() if "cuda.bindings" in libraries else _ask_smi()
    return Found(gpu, libraries, tuple(ort.get_available_providers()))


def processor() -> str:
    """The processor's name, or its architecture where the kernel tells no name."""
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", _PROCESSOR.read_text(), re.MULTILINE)
    except OSError:
        named = None
    return named[1].strip() if named else platform.machine()


def _version(module: str) -> str | None:
    """The installed version of a module that can be found; it is not imported."""
    try:
        if importlib.util.find_spec(module) is None:
            return None
    except ModuleNotFoundError:  # of its parent
        return None
    for name in LIBRARIES[module]:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def _ask_cuda() -> Gpu | None:
    """The card as CUDA tells of it, or nvidia-smi where the bindings come without CUDA."""
    try:
        card = first_card()
    except EngineLoadError:
        return _ask_smi()
    if card is None:
        return None
    return Gpu(card.name, card.capability, card.memory_mb, _driver() or card.cuda)


def _ask_smi() -> Gpu | None:
    """The card as `nvidia-smi` tells of it; None without it or where it knows no CUDA card."""
    wanted = "name,compute_cap,memory.total,driver_version"
    try:
        said = subprocess.run(
            ["nvidia-smi", f"--query-gpu={wanted}", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, check=True, timeout=30,
        ).stdout  # fmt: skip
        name, capability, memory, driver = (x.strip() for x in said.splitlines()[0].split(","))
        major, minor = capability.split(".")
        megabytes = int(memory) if memory.isdigit() else 0  # a Jetson's is the machine's own
        return Gpu(name, (int(major), int(minor)), megabytes, driver)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _driver() -> str:
    """The kernel module's version, or a Jetson's release; empty where neither is told."""
    for path, pattern in (
        (_KERNEL, r"Kernel Module.*?\s(\d+\.[\d.]+)"), (_TEGRA, r"# (R\d+.*?REVISION: [\d.]+)"),
    ):  # fmt: skip
        try:
            found = re.search(pattern, path.read_text())
        except OSError:
            continue
        if found:
            return found[1]
    return ""
