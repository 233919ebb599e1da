"""On what a round computes, and how precisely. The adapter and its average stay float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel

from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig, Precision
from acclimate.errors import ConfigError

BF16_UNITS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # flags of x86 and of Arm
FIRST_SCALE = 2.0**10  # torch's own, 2^16, costs a short round its first steps
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """A device, and the type that autocast computes in there."""

    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> torch.autocast:
        """Within, products are computed in `dtype`; sums that need it stay float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self) -> torch.amp.GradScaler:
        """Keeps small gradients of float16 above zero; hands the others through."""
        half = self.dtype == torch.float16
        return torch.amp.GradScaler(self.device.type, FIRST_SCALE, enabled=half)


def compute_for(settings: AdaptConfig) -> Compute:
    """`adapt.device` and `adapt.precision`; raises ConfigError for a device that is not there."""
    there = torch.cuda.is_available()
    if settings.device == "cuda" and not there:
        raise ConfigError(["adapt.device: torch sees no CUDA device; use cpu or auto"])
    name = "cuda" if settings.device != "cpu" and there else "cpu"
    precision = settings.precision
    if precision == "auto":
        precision = _cuda_precision() if name == "cuda" else _cpu_precision(_cpu_flags())
    return Compute(torch.device(name), _DTYPES[precision])


def _cuda_precision() -> Precision:
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def _cpu_precision(flags: frozenset[str]) -> Precision:
    """bf16 only where the processor multiplies it itself: elsewhere it costs more than it saves."""
    return "bf16" if flags & BF16_UNITS else "fp32"


def _cpu_flags() -> frozenset[str]:
    """What the kernel says the processor can do; nothing where it says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    found = (x for x in lines if x.startswith(("flags", "Features")))
    return frozenset(next(found, "").split())


@contextmanager
def placed(model: PeftModel, words: Words, device: torch.device) -> Iterator[None]:
    """Within, `model` and `words` are on `device`; afterwards where they were."""
    before = words.owner.device
    if before == device:
        yield
        return
    try:
        model.to(device)
        words.owner = words.owner.to(device)
        yield
    finally:
        model.to(before)
        words.owner = words.owner.to(before)
