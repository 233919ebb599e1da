"""One-off jobs: pictures and films segmented, an adapter judged on labels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from acclimate.configs.schema import Config, to_dict
from acclimate.runtime.offline import main, table_of
from acclimate.world import Drive


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three frames of a drive, larger than the engine, and one file that is no picture."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index, name in enumerate(("a.png", "b.png", "c.jpg")):
        image, _ = Drive(3, (200, 280)).frame(10 * index)
        assert cv2.imwrite(str(folder / name), image[:, :, ::-1])
    return folder


@pytest.fixture
def base(tmp_path: Path, prepared: Path) -> list[str]:
    """The arguments that every job takes."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(to_dict(Config())))
    return ["--config", str(config), "--state", str(prepared)]


def segment(base: list[str], source: object, out: Path) -> int:
    return main(["segment", *base, "--source", str(source), "--out", str(out)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_segmented_and_agrees_with_itself(
    base: list[str], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert segment(base, images, out) == 0
    assert "3 frames: label maps and overlays are in" in capsys.readouterr().out
    assert names(out) == ["labels", "overlays"]
    assert names(out / "labels") == ["a.png", "b.png", "c.png"]
    assert names(out / "overlays") == ["a.jpg", "b.jpg", "c.jpg"]

    job = ["evaluate", *base, "--images", str(images), "--labels", str(out / "labels")]
    assert main(job) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split()[:2] == ["mean", "100.0"]
    assert main([*job, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["adapter"], report["miou"], report["accuracy"]) == ("base", 100, 100)
    assert {*report["iou"].values()} <= {100, None}

    (out / "labels" / "b.png").unlink()
    assert main(job) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "images/b.png has no readable label map" in said


def test_wrong_labels_cost_points(
    base: list[str], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    segment(base, images / "a.png", out)
    path = out / "labels" / "a.png"
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert labels is not None
    labels[:40] = (labels[:40] + 1) % 14  # a quarter of the 160 rows
    cv2.imwrite(str(path), labels)
    alone = tmp_path / "one"
    alone.mkdir()
    (images / "a.png").rename(alone / "a.png")
    capsys.readouterr()
    rest = ["--images", str(alone), "--labels", str(out / "labels"), "--json"]
    assert main(["evaluate", *base, *rest]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["accuracy"] == pytest.approx(75)
    assert report["miou"] < 100


def test_a_film_becomes_a_film_and_numbered_labels(
    base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = cv2.VideoWriter(
        str(tmp_path / "f.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 5, (224, 160)
    )
    for index in range(3):
        writer.write(np.ascontiguousarray(Drive(1).frame(index)[0][:, :, ::-1]))
    writer.release()
    assert segment(base, tmp_path / "f.mp4", tmp_path / "out") == 0
    assert names(tmp_path / "out") == ["labels", "overlay.mp4"]
    assert names(tmp_path / "out" / "labels") == ["000000.png", "000001.png", "000002.png"]


def test_unreadable_pictures_are_counted(
    base: list[str], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "b.png").write_bytes(b"rot")
    assert segment(base, images, tmp_path / "out") == 0
    assert "2 frames, 1 unreadable" in capsys.readouterr().out


def test_two_pictures_of_one_stem_both_get_labels(
    base: list[str], images: Path, tmp_path: Path
) -> None:
    (images / "b.png").rename(images / "c.png")
    assert segment(base, images, tmp_path / "out") == 0
    assert len(names(tmp_path / "out" / "labels")) == 3


@pytest.mark.parametrize(
    ("source", "word"),
    [("world:frames=2", "does not end"), ("0", "does not end"), ("nowhere.mp4", "nowhere.mp4")],
)
def test_what_cannot_be_segmented_is_told_in_one_line(
    base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, word: str
) -> None:
    assert segment(base, source, tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert (said.count("\n"), word in said) == (1, True)
    assert not (tmp_path / "out").exists()


def test_labels_without_a_class_are_refused(
    base: list[str], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stem in "abc":
        cv2.imwrite(str(tmp_path / f"{stem}.png"), np.full((20, 28), 255, np.uint8))
    rest = ["--images", str(images), "--labels", str(tmp_path)]
    assert main(["evaluate", *base, *rest]) == 1
    assert "holds no pixel of the 14 classes" in capsys.readouterr().err


def test_an_unknown_adapter_is_told(
    base: list[str], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--adapter", "a-0099", "--source", str(images), "--out", str(tmp_path / "out")]
    assert main(["segment", *base, *rest]) == 1
    assert "a-0099 has no readable manifest" in capsys.readouterr().err


def test_an_engine_of_another_vocabulary_is_told(
    base: list[str], images: Path, tmp_path: Path
) -> None:
    config = Path(base[1])
    config.write_text(json.dumps({"model": {"vocabulary": "cityscapes"}}))
    for stem in "abc":
        cv2.imwrite(str(tmp_path / f"{stem}.png"), np.zeros((20, 28), np.uint8))
    assert main(["evaluate", *base, "--images", str(images), "--labels", str(tmp_path)]) == 1


def test_the_table_shows_absent_classes_as_a_dash() -> None:
    report = {"iou": {"road": 50.0, "person": None}, "miou": 50.0, "accuracy": 99.96}
    road, person, mean = table_of(report).splitlines()[1:]
    assert (road.split(), person.split()) == (["road", "50.0"], ["person", "-"])
    assert mean.endswith("50.0   pixel accuracy 100.0 %")
