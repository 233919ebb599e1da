"""Where frames come from and where results go."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from acclimate.configs.schema import ServingConfig, SourceConfig
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.errors import SourceError
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.sinks import Sinks, overlay
from acclimate.runtime.source import CameraSource, Captured, open_source
from acclimate.world import Drive

SIZE = (160, 224)
WORDS = load_vocabulary("world")
SERVING = ServingConfig(overlay_video=True, label_png=True, latest_hz=1000)


def read_all(url: str) -> tuple[list[Captured], Ledger, str]:
    """Every frame, the ledger and the source's last state."""
    ledger, source = Ledger(), open_source(SourceConfig(url=url), SIZE)
    frames = list(source.frames(ledger, threading.Event()))
    return frames, ledger, source.state


def film(path: Path, count: int = 12) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 5, (224, 160))
    for index in range(count):
        writer.write(np.ascontiguousarray(Drive(1).frame(index)[0]))
    writer.release()
    return path


def test_a_film_gives_every_frame_with_its_time(tmp_path: Path) -> None:
    frames, ledger, state = read_all(str(film(tmp_path / "a.mp4")))
    assert [f.frame_id for f in frames] == list(range(12))
    assert frames[5].time == pytest.approx(1.0)
    assert (ledger.captured, state) == (12, "ended")


def test_an_unreadable_image_is_dropped_and_the_rest_is_served(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg"):
        cv2.imwrite(str(tmp_path / name), np.full((20, 30, 3), 99, np.uint8))
    (tmp_path / "c.png").write_bytes(b"not an image")
    frames, ledger, _ = read_all(str(tmp_path))
    assert [f.name for f in frames] == ["a", "b"]
    assert (ledger.captured, dict(ledger.dropped)) == (3, {"unreadable": 1})


def test_one_image_is_a_source(tmp_path: Path) -> None:
    path = tmp_path / "odd [name].png"
    cv2.imwrite(str(path), np.zeros((10, 10, 3), np.uint8))
    assert len(read_all(str(path))[0]) == 1


def test_the_world_is_paced_and_shifts() -> None:
    started = time.monotonic()
    frames, _, state = read_all("world:seed=1,fps=50,frames=5,shift=night,strength=0@0/1@0.05")
    assert state == "ended"
    assert [f.image.shape for f in frames] == [(160, 224, 3)] * 5
    assert frames[-1].captured_at - started >= 0.08
    assert frames[-1].image.mean() < 0.6 * frames[0].image.mean()


@pytest.mark.parametrize(
    ("url", "word"),
    [("nowhere.mp4", "nowhere.mp4"), ("world:speed=3", "speed"), ("ftp://x", "ftp://x")],
)
def test_what_is_no_source_is_named(url: str, word: str) -> None:
    with pytest.raises(SourceError, match=word):
        open_source(SourceConfig(url=url), SIZE)


def test_empty_folders_and_false_films_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no"):
        open_source(SourceConfig(url=str(tmp_path)), SIZE)
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(SourceError, match=r"text\.mp4"):
        open_source(SourceConfig(url=str(tmp_path / "text.mp4")), SIZE)


def test_a_dead_camera_is_tried_again_until_stopped() -> None:
    camera = CameraSource("/dev/video99", SourceConfig(reconnect_seconds=0.01))
    stop, ledger = threading.Event(), Ledger()
    thread = threading.Thread(target=lambda: list(camera.frames(ledger, stop)))
    thread.start()
    stop.wait(0.3)
    assert camera.state == "failed"
    stop.set()
    thread.join(10)
    assert (camera.state, ledger.captured) == ("ended", 0)


def test_an_overlay_blends() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    palette = np.array([[0, 0, 0], [200, 200, 200]], np.uint8)
    found = overlay(image, np.array([[0, 1], [1, 0]], np.uint8), palette, 0.5)
    assert found[:, :, 0].tolist() == [[50, 150], [150, 50]]


def shown(sinks: Sinks, count: int) -> None:
    frame = Captured(0, 0.0, 0.0, np.zeros((*SIZE, 3), np.uint8))
    for number in range(count):
        labels = np.full(SIZE, number % 14, np.uint8)
        sinks.write(replace(frame, frame_id=number), labels, "base")
    sinks.close()


def test_films_labels_and_the_latest_picture_are_written(tmp_path: Path) -> None:
    shown(Sinks(SERVING, WORDS, tmp_path, tmp_path / "out", 5), 7)
    assert len(read_all(str(tmp_path / "out" / "overlay.mp4"))[0]) == 7
    label = cv2.imread(str(tmp_path / "out" / "labels" / "000003.png"), cv2.IMREAD_GRAYSCALE)
    assert label is not None
    assert (label == 3).all()
    assert cv2.imread(str(tmp_path / "latest.jpg")) is not None


def test_a_sink_that_fails_is_switched_off_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sinks = Sinks(SERVING, WORDS, tmp_path / "gone", tmp_path / "out", 5)
    shown(sinks, 4)
    assert capsys.readouterr().err.count("Latest switched off") == 1
    assert len(list((tmp_path / "out" / "labels").glob("*.png"))) == 4
