"""Label-free signals, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.runtime.signals import jensen_shannon


def test_jensen_shannon_is_bounded_and_symmetric() -> None:
    left, right, even = np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([0.5, 0.5])
    assert jensen_shannon(left, left) == pytest.approx(0.0, abs=1e-9)
    assert jensen_shannon(left, right) == pytest.approx(1.0, abs=1e-9)
    assert jensen_shannon(left, even) == pytest.approx(0.3112781, abs=1e-6)
    assert jensen_shannon(even, left) == pytest.approx(jensen_shannon(left, even))
