"""Sinks: what is written, and that a broken one ends alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from acclimate.configs.serving import ServingConfig
from acclimate.configs.vocabulary import load_vocabulary, parse_vocabulary
from acclimate.errors import SourceError
from acclimate.runtime import sinks as module
from acclimate.runtime.sinks import LabelFolder, Latest, OverlayFilm, OverlayFolder, Sinks, overlay
from acclimate.runtime.source import Captured

WORDS = load_vocabulary("world")
LABELS = np.arange(14, dtype=np.uint8).repeat(32 * 40 // 14 + 1)[: 32 * 40].reshape(32, 40)
PALETTE = np.array([[0, 0, 0], [200, 100, 0]], np.uint8)
ONES = np.ones((32, 40), np.uint8)


def captured(number: int = 0, name: str = "") -> Captured:
    return Captured(number, 0.0, number / 5, np.zeros((64, 80, 3), np.uint8), name)


def colour(path: Path) -> list[float]:
    """Mean RGB of a picture."""
    image = cv2.imread(str(path))
    assert image is not None
    return image.reshape(-1, 3).mean(0)[::-1].tolist()


def test_an_overlay_has_the_labels_size_and_colours() -> None:
    found = overlay(captured().image, ONES, PALETTE, strength=1.0)
    assert found.shape == (32, 40, 3)
    assert np.unique(found.reshape(-1, 3), axis=0).tolist() == [[200, 100, 0]]


def test_an_overlay_blends_picture_and_colour() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    palette = np.array([[0, 0, 0], [200, 200, 200]], np.uint8)
    found = overlay(image, np.array([[0, 1], [1, 0]], np.uint8), palette, 0.5)
    assert found[:, :, 0].tolist() == [[50, 150], [150, 50]]


def test_a_label_beyond_the_palette_is_painted_all_the_same() -> None:
    found = overlay(captured().image, ONES * 255, PALETTE, strength=1.0)
    assert found[0, 0].tolist() == [200, 100, 0]


def test_label_maps_are_exact_and_named(tmp_path: Path) -> None:
    sink = LabelFolder(tmp_path / "labels")
    sink(captured(7), LABELS, "base")
    sink(captured(8, "street"), LABELS, "base")
    for name in ("000007.png", "street.png"):
        read = cv2.imread(str(tmp_path / "labels" / name), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(read, LABELS)


def test_overlays_are_written_in_rgb(tmp_path: Path) -> None:
    OverlayFolder(tmp_path / "o", PALETTE)(captured(3), ONES, "base")
    assert colour(tmp_path / "o" / "000003.png") == pytest.approx([110, 55, 0], abs=3)


def test_the_film_has_every_frame_beside_its_overlay(tmp_path: Path) -> None:
    film = OverlayFilm(tmp_path / "a.mp4", PALETTE, 5)
    for number in range(4):
        film(captured(number), ONES, "base")
    film.close()
    read = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert read.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert read.get(cv2.CAP_PROP_FPS) == 5
    assert (read.get(cv2.CAP_PROP_FRAME_WIDTH), read.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (160, 64)


def test_a_film_never_begun_leaves_no_file(tmp_path: Path) -> None:
    OverlayFilm(tmp_path / "a.mp4", PALETTE, 5).close()
    assert list(tmp_path.iterdir()) == []


def test_the_latest_picture_is_replaced_when_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    latest, red = Latest(tmp_path / "latest.jpg", PALETTE, hz=2), []
    for now[0], labels in ((100.0, ONES), (100.4, 0 * ONES), (100.6, 0 * ONES)):
        latest(captured(), labels, "base")
        red.append(colour(tmp_path / "latest.jpg")[0])
    assert red == pytest.approx([110, 110, 0], abs=3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest.jpg", "latest.png"]


def test_a_sink_that_cannot_write_names_its_file(tmp_path: Path) -> None:
    sink = LabelFolder(tmp_path / "labels")
    (tmp_path / "labels" / "000000.png").mkdir()
    with pytest.raises(SourceError, match=r"000000\.png"):
        sink(captured(), LABELS, "base")
    with pytest.raises(SourceError, match=r"nowhere/a\.mp4"):
        OverlayFilm(tmp_path / "nowhere" / "a.mp4", PALETTE, 5)(captured(), ONES, "base")


@pytest.mark.parametrize("error", [OSError("full"), SourceError("full"), cv2.error("full")])
def test_a_broken_sink_is_told_once_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:  # fmt: skip
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(module.OverlayFilm, "__call__", broken)
    sinks = Sinks(ServingConfig(label_png=True), WORDS, tmp_path, tmp_path / "out", 5)
    for number in range(3):
        sinks.write(captured(number), LABELS, "base")
    sinks.close()
    assert capsys.readouterr().err == "OverlayFilm switched off: full\n"
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 3


def test_the_latest_picture_comes_back_with_the_room_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, full = module.replace_file, [True]

    def if_room(path: Path, content: bytes) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(module, "replace_file", if_room)
    sinks = Sinks(ServingConfig(latest_hz=1e9), WORDS, tmp_path, None, 5)
    for full[0] in (True, True, False):
        sinks.write(captured(), LABELS, "base")
    assert (tmp_path / "latest.jpg").is_file()
    assert capsys.readouterr().err.count("Latest fails, and is tried again") == 1


def test_what_is_asked_for_is_written_in_its_place(tmp_path: Path) -> None:
    config = ServingConfig(overlay_video=True, label_png=True, latest_hz=1000)
    sinks = Sinks(config, WORDS, tmp_path, tmp_path / "out", 5)
    sinks.write(captured(), LABELS, "base")
    sinks.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(str(path.relative_to(tmp_path)) for path in files) == [
        "latest.jpg", "latest.png", "out/labels/000000.png", "out/overlay.mp4",
    ]  # fmt: skip


def test_only_what_is_asked_for_is_written(tmp_path: Path) -> None:
    none = ServingConfig(overlay_video=False, label_png=False, latest_hz=0)
    for config, out in ((none, tmp_path / "out"), (ServingConfig(latest_hz=0), None)):
        sinks = Sinks(config, WORDS, tmp_path, out, 5)
        sinks.write(captured(), LABELS, "base")
        sinks.close()
    assert [p.name for p in tmp_path.rglob("*")] == ["out"]


def test_other_words_are_painted_in_their_colours(tmp_path: Path) -> None:
    """In the film and in the newest picture, from the next frame on."""
    config = ServingConfig(overlay_video=True, latest_hz=1e6)
    sinks = Sinks(config, WORDS, tmp_path, tmp_path / "out", 5)
    other = parse_vocabulary({
        "classes": [{"name": "a", "color": [250, 0, 0]}, {"name": "b", "color": [0, 0, 250]}]
    })  # fmt: skip
    seen = []
    for words in (WORDS, other):
        sinks.repaint(words)
        sinks.write(captured(), ONES, "base")
        seen.append(colour(tmp_path / "latest.jpg"))
    sinks.close()
    for found, words in zip(seen, (WORDS, other), strict=True):
        assert found == pytest.approx([0.55 * c for c in words.classes[1].color], abs=4)
    film = cv2.VideoCapture(str(tmp_path / "out" / "overlay.mp4"))
    for expected in seen:
        _, picture = film.read()
        painted = picture[32:, 90:, ::-1].reshape(-1, 3).mean(0)  # below the writing, at the right
        assert painted.tolist() == pytest.approx(expected, abs=12)
