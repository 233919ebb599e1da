"""Weights that somebody published."""

from __future__ import annotations

import contextlib

from acclimate.errors import AcclimateError
from acclimate.model.weights import inspect, table
from tests.fuzz.room import room


def weights(data: bytes) -> None:
    """A file of torch's or of safetensors, looked into."""
    with room() as folder:
        (folder / "a.pth").write_bytes(data)
        with contextlib.suppress(AcclimateError):
            table(inspect(str(folder / "a.pth")))
