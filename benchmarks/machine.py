"""Where and with what something was measured."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch


def machine() -> dict[str, Any]:
    """Processor, device and versions, and how busy it is with other work (load of a minute)."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "unknown")
    cuda = torch.cuda.is_available()
    return {
        "cpu": model, "cores": os.cpu_count(), "python": platform.python_version(),
        "torch": torch.__version__, "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__, "device": torch.cuda.get_device_name() if cuda else "cpu",
        "load": round(os.getloadavg()[0], 2),
    }  # fmt: skip


def results_folder() -> Path:
    """Where runs of this machine are kept: named after its GPU, else its processor and threads."""
    found = machine()
    cpu = found["device"] == "cpu"
    name = f"{found['cpu']} {found['cores']} threads" if cpu else str(found["device"])
    return Path("benchmarks/results") / "-".join(re.findall(r"[a-z0-9]+", name.lower()))
