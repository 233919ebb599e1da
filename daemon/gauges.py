"""What Prometheus reads off the running daemon whenever it asks."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.daemon.labels import OTHER

if TYPE_CHECKING:
    from acclimate.daemon.lifecycle import Lifecycle


def expose(life: Lifecycle) -> None:
    """Tie gauges of `life.metrics` to it; they are read in the thread that answers Prometheus."""
    metrics, stream = life.metrics, life.stream
    metrics.alarm.set_function(lambda: stream.alarm)
    metrics.unfit.labels("blind").set_function(lambda: stream.blind)
    metrics.unfit.labels("parked").set_function(lambda: stream.parked)
    metrics.trouble.set_function(lambda: bool(life.trouble or stream.last.get("trouble")))
    metrics.quarantined.set_function(lambda: len(life.registry.state.quarantined))
    metrics.free.set_function(partial(free_bytes, life.registry.folder))
    for state in metrics.source.values:
        metrics.source.labels(state).set_function(partial(_is_source, life, state))
    expose_cameras(life)


def expose_cameras(life: Lifecycle) -> None:
    """Those of the configuration, and no others."""
    life.metrics.cameras.clear()
    for camera in life.config.sources:
        life.metrics.cameras.labels(camera).set_function(partial(_is_up, life, camera))


def free_bytes(folder: Path) -> float:
    """Room for files in `folder`; NaN where the disk does not say."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return float("nan")


def _is_source(life: Lifecycle, state: str) -> bool:
    now = life.stream.last.get("source", "connecting")
    return (now if now in life.metrics.source.values else OTHER) == state


def _is_up(life: Lifecycle, camera: str) -> bool:
    told = life.stream.last.get("cameras", {}).get(camera, {})
    return bool(told.get("state") == "live")
