"""A film through the whole loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from acclimate.world import Drive
from tests.conftest import SHARED
from tests.integration.conftest import Daemon

FILM = SHARED / "data" / "video" / "udacity_solidWhiteRight.mp4"
SERVING = {"overlay_video": True, "label_png": True, "threads": 2}


def frames_in(film: Path) -> int:
    """Frames that can be read back."""
    capture, count = cv2.VideoCapture(str(film)), 0
    while capture.read()[0]:
        count += 1
    return count


def test_a_film_is_served_frame_by_frame(start: Callable[..., Daemon], tmp_path: Path) -> None:
    film, drive = tmp_path / "drive.mp4", Drive(5)
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"mp4v"), 10, (224, 160))
    for index in range(40):
        writer.write(np.ascontiguousarray(drive.frame(index)[0][:, :, ::-1]))
    writer.release()
    out = tmp_path / "out"
    daemon = start("--source", str(film), "--out", str(out), serving=SERVING)
    code, ledger = daemon.finish(120)
    assert code == 0
    assert ledger == {"captured": 40, "served": 40, "dropped": {}, "balanced": True}
    assert frames_in(out / "overlay.mp4") == 40
    assert len(list((out / "labels").glob("*.png"))) == 40


@pytest.mark.skipif(not FILM.exists(), reason=f"{FILM.name} is not here")
def test_a_real_film_balances(start: Callable[..., Daemon], tmp_path: Path) -> None:
    out = tmp_path / "out"
    daemon = start("--source", str(FILM), "--out", str(out), serving=SERVING)
    code, ledger = daemon.finish(200)
    assert code == 0
    assert ledger["balanced"]
    assert ledger["captured"] == ledger["served"] == 221
    assert frames_in(out / "overlay.mp4") == 221


def test_a_missing_film_is_named(start: Callable[..., Daemon]) -> None:
    daemon = start("--source", "no/such/film.mp4", daemon={"max_restarts": 1})
    said, _ = daemon.process.communicate(timeout=60)
    assert daemon.process.returncode == 1
    assert "no/such/film.mp4" in said
