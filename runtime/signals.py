"""Label-free signals that both the gate and the probation look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.floating[Any]]


def jensen_shannon(p: Shares, q: Shares) -> float:
    """Jensen-Shannon divergence of two class histograms (T,) in bits, 0..1."""
    p, q = np.asarray(p, float) + 1e-12, np.asarray(q, float) + 1e-12
    middle = (p + q) / 2
    return float((p * np.log2(p / middle) + q * np.log2(q / middle)).sum() / 2)
