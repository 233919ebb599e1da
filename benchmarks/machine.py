"""Where and with what something was measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch


def machine() -> dict[str, Any]:
    """Processor, device and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "unknown")
    cuda = torch.cuda.is_available()
    return {
        "cpu": model, "cores": os.cpu_count(), "python": platform.python_version(),
        "torch": torch.__version__, "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__, "device": torch.cuda.get_device_name() if cuda else "cpu",
    }  # fmt: skip
