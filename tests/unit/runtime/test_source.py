"""Sources: what a url stands for, how it is paced, and how it ends."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from acclimate.configs.source import SourceConfig
from acclimate.errors import SourceError
from acclimate.runtime import source as module
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.source import open_source
from acclimate.runtime.sources.camera import CameraSource
from acclimate.runtime.sources.film import FilmSource
from acclimate.runtime.sources.folder import FolderSource
from acclimate.runtime.sources.world import WorldSource

SIZE = (32, 48)
RED_RGB = np.full((8, 8, 3), (255, 0, 0), np.uint8)


def opened(url: str | Path, **more: Any) -> module.Source:
    return open_source(SourceConfig(url=str(url), **more), SIZE)


def picture(path: Path) -> Path:
    assert cv2.imwrite(str(path), RED_RGB[:, :, ::-1])
    return path


def film(path: Path, frames: int = 5) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(frames):
        writer.write(np.full((48, 64, 3), (0, 0, 255), np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(
    "url",
    ["0", "/dev/video3", "/dev/v4l/by-id/usb-cam", "/dev/video1?framerate=30", "rtsp://a/b",
     "rtsps://a", "http://a/b.mjpg"],
)  # fmt: skip
def test_cameras_are_known_by_their_address(url: str) -> None:
    camera = opened(url)
    assert isinstance(camera, CameraSource)
    assert (camera.live, camera.state) == (True, "connecting")


def test_files_and_folders_are_known_by_what_lies_there(tmp_path: Path) -> None:
    picture(tmp_path / "a.PNG")
    assert isinstance(opened(tmp_path), FolderSource)
    assert isinstance(opened(tmp_path / "a.PNG"), FolderSource)
    assert isinstance(opened(film(tmp_path / "b.mp4")), FilmSource)
    assert isinstance(opened("world:seed=1"), WorldSource)


@pytest.mark.parametrize("name", ["notes.txt", "a[1].gif", "nowhere/x.png", "film.mp4x", "ftp://x"])
def test_anything_else_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match="no folder of images"):
        opened(tmp_path / name)


def test_no_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="source '' is no image"):
        opened("")


def test_colours_are_rgb_from_every_file(tmp_path: Path) -> None:
    for path in (picture(tmp_path / "a.png"), film(tmp_path / "b.mp4")):
        frames = list(opened(path).frames(Ledger(), threading.Event()))
        red, green, blue = frames[0].image.reshape(-1, 3).mean(0)
        assert red > 200 > 60 > max(green, blue)


def test_a_folder_is_read_in_order_with_its_names_and_times(tmp_path: Path) -> None:
    for name in ("c.jpeg", "a.png", "b.jpg"):
        picture(tmp_path / name)
    (tmp_path / "aa.png").write_bytes(b"rot")
    ledger, source = Ledger(), opened(tmp_path)
    frames = list(source.frames(ledger, threading.Event()))
    assert [(f.frame_id, f.name) for f in frames] == [(0, "a"), (2, "b"), (3, "c")]
    assert [f.time for f in frames] == pytest.approx([0, 0.4, 0.6])
    assert ledger.totals()["dropped"] == {"unreadable": 1}
    assert source.state == "ended"


def test_one_image_is_a_source_whatever_its_name(tmp_path: Path) -> None:
    picture(tmp_path / "odd n.png")
    path = picture(tmp_path / "odd [n].png")
    frames = list(opened(path).frames(Ledger(), threading.Event()))
    assert [frame.name for frame in frames] == ["odd [n]"]


def test_a_film_gives_every_frame_with_its_time(tmp_path: Path) -> None:
    ledger, source = Ledger(), opened(film(tmp_path / "a.mp4", frames=12))
    frames = list(source.frames(ledger, threading.Event()))
    assert [f.frame_id for f in frames] == list(range(12))
    assert [f.time for f in frames] == pytest.approx([n / 10 for n in range(12)])
    assert (ledger.captured, source.state) == (12, "ended")


def test_an_empty_folder_and_a_false_film_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no"):
        opened(tmp_path)
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(SourceError, match=r"text\.mp4"):
        opened(tmp_path / "text.mp4")


@pytest.mark.parametrize("kind", ["folder", "film", "world"])
def test_every_source_obeys_stop_and_counts_what_it_gave(tmp_path: Path, kind: str) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.png")
    urls = {"folder": tmp_path, "film": film(tmp_path / "f.mp4"), "world": "world:fps=1000"}
    ledger, stop, source = Ledger(), threading.Event(), opened(urls[kind])
    frames = source.frames(ledger, stop)
    next(frames)
    assert source.state == "live"
    stop.set()
    assert len(list(frames)) <= 1
    assert source.state == "ended"
    assert ledger.captured <= 2


def test_the_world_repeats_itself_and_has_the_size_it_is_asked_for() -> None:
    url = "world:seed=5,fps=1000,frames=2"
    one, two = (list(opened(url).frames(Ledger(), threading.Event())) for _ in range(2))
    assert [f.frame_id for f in one] == [0, 1]
    for a, b in zip(one, two, strict=True):
        assert a.image.tobytes() == b.image.tobytes()


def test_the_world_is_paced_and_shifts() -> None:
    started = time.monotonic()
    source = opened("world:seed=1,fps=50,frames=5,shift=night,strength=0@0/1@0.05")
    frames = list(source.frames(Ledger(), threading.Event()))
    assert frames[-1].captured_at - started >= 0.08
    assert frames[-1].image.mean() < 0.6 * frames[0].image.mean()


def test_an_odd_world_is_named() -> None:
    with pytest.raises(SourceError, match="speed"):
        opened("world:speed=3")
