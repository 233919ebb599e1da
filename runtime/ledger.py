"""Where every frame went: captured = served + dropped by reason."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any


class Ledger:
    """Counts of one run; safe to use from several threads."""

    def __init__(self) -> None:
        self.captured = self.served = 0
        self.dropped: Counter[str] = Counter()
        self._lock = threading.Lock()

    def capture(self) -> None:
        """A frame came from the source."""
        with self._lock:
            self.captured += 1

    def serve(self) -> None:
        """A frame was inferred."""
        with self._lock:
            self.served += 1

    def drop(self, reason: str) -> None:
        """A captured frame will not be served."""
        with self._lock:
            self.dropped[reason] += 1

    def totals(self) -> dict[str, Any]:
        """captured, served, dropped by reason, and whether they balance."""
        with self._lock:
            dropped = dict(self.dropped)
            balanced = self.captured == self.served + sum(dropped.values())
            return {
                "captured": self.captured, "served": self.served, "dropped": dropped,
                "balanced": balanced,
            }  # fmt: skip
