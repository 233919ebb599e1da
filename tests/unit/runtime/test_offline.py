"""One-off jobs: pictures and films segmented, an adapter judged on labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from acclimate.configs.schema import Config, to_dict
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.runtime.job import Job
from acclimate.runtime.offline import main
from acclimate.world import Drive
from tests.conftest import SHARED

Do = Callable[..., int]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three frames of a drive, larger than the engine."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index, name in enumerate(("a.png", "b.png", "c.jpg")):
        image, _ = Drive(3, (200, 280)).frame(10 * index)
        assert cv2.imwrite(str(folder / name), image[:, :, ::-1])
    return folder


@pytest.fixture
def do(tmp_path: Path, prepared: Path) -> Do:
    """Run a job on the prepared state folder with the default's words."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(to_dict(Config())))

    def run(kind: str, **wishes: Any) -> int:
        job = Job(kind, **{k: v if k == "limit" else str(v) for k, v in wishes.items()})  # type: ignore[arg-type]
        return main(["--config", str(config), "--state", str(prepared), "--job", job.dumps()])

    return run


@pytest.fixture
def labelled(do: Do, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Label maps that the engine made itself of `images`."""
    assert do("segment", source=images, out=tmp_path / "own") == 0
    capsys.readouterr()
    return tmp_path / "own" / "labels"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read(path: Path) -> np.ndarray:
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return np.asarray(found)


def test_a_folder_is_segmented_at_its_own_size(
    do: Do, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert do("segment", source=images, out=out, confidence="yes") == 0
    said = capsys.readouterr().out
    assert "3 frames: label maps and overlays are in" in said
    assert names(out) == ["areas.json", "confidence", "labels", "legend.png", "overlays"]
    for folder in ("labels", "overlays", "confidence"):
        assert names(out / folder) == ["a.png", "b.png", "c.png"]
    assert read(out / "overlays" / "a.png").shape == (200, 280, 3)

    areas = json.loads((out / "areas.json").read_text())
    assert [frame["name"] for frame in areas["frames"]] == ["a", "b", "c"]
    labels, sure = read(out / "labels" / "b.png"), read(out / "confidence" / "b.png")
    assert labels.shape == (200, 280)
    order = [c["name"] for c in areas["classes"]]
    for name, row in areas["frames"][1]["classes"].items():
        there = labels == order.index(name)
        assert row["share"] == pytest.approx(there.mean(), abs=1e-6)
        assert row["confidence"] == pytest.approx(sure[there].mean() / 255, abs=0.003)
    assert areas["overall"]["frames"] == 3
    whole = [frame["confidence"] for frame in areas["frames"]]
    assert areas["overall"]["confidence"] == pytest.approx(np.mean(whole), abs=1e-4)


def test_label_maps_in_the_data_sets_own_numbers(state: Path, images: Path, tmp_path: Path) -> None:
    """The base bundle's words, with numbers of their own: +100."""
    words = load_vocabulary("world")
    rows = [
        {"name": c.name, "synonyms": list(c.synonyms), "concepts": list(c.concepts),
         "color": list(c.color), "label": 100 + i}
        for i, c in enumerate(words.classes)
    ]  # fmt: skip
    (tmp_path / "numbers.yaml").write_text(json.dumps({"classes": rows}))
    (tmp_path / "config.json").write_text(json.dumps(to_dict(Config())))
    for ids in ("index", "dataset"):
        job = Job("segment", source=str(images / "a.png"), out=str(tmp_path / ids), label_ids=ids,
                  vocabulary=str(tmp_path / "numbers.yaml"))  # type: ignore[arg-type]  # fmt: skip
        arguments = ["--config", str(tmp_path / "config.json"), "--state", str(state)]
        assert main([*arguments, "--job", job.dumps()]) == 0
    index, numbers = (read(tmp_path / ids / "labels" / "a.png") for ids in ("index", "dataset"))
    np.testing.assert_array_equal(numbers, index + 100)


def test_a_film_becomes_a_film_and_numbered_labels(do: Do, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(
        str(tmp_path / "f.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 5, (224, 160)
    )
    for index in range(3):
        writer.write(np.ascontiguousarray(Drive(1).frame(index)[0][:, :, ::-1]))
    writer.release()
    assert do("segment", source=tmp_path / "f.mp4", out=tmp_path / "out") == 0
    assert names(tmp_path / "out") == ["areas.json", "labels", "legend.png", "overlay.mp4"]
    assert names(tmp_path / "out" / "labels") == ["000000.png", "000001.png", "000002.png"]
    film = cv2.VideoCapture(str(tmp_path / "out" / "overlay.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    film.release()


def test_unreadable_pictures_are_counted(
    do: Do, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "b.png").write_bytes(b"rot")
    assert do("segment", source=images, out=tmp_path / "out") == 0
    assert "2 frames, 1 unreadable" in capsys.readouterr().out
    for name in ("a.png", "c.jpg"):
        (images / name).unlink()
    assert do("segment", source=images, out=tmp_path / "none") == 1
    assert "no frame of" in capsys.readouterr().err


def test_two_pictures_of_one_stem_both_get_labels(do: Do, images: Path, tmp_path: Path) -> None:
    (images / "b.png").rename(images / "c.png")
    assert do("segment", source=images, out=tmp_path / "out") == 0
    assert len(names(tmp_path / "out" / "labels")) == 3


@pytest.mark.parametrize(
    ("source", "word"),
    [("world:frames=2", "does not end"), ("0", "does not end"), ("nowhere.mp4", "nowhere.mp4")],
)
def test_what_cannot_be_segmented_is_told_in_one_line(
    do: Do, tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, word: str
) -> None:
    assert do("segment", source=source, out=tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert (said.count("\n"), word in said) == (1, True)
    assert not (tmp_path / "out").exists()


def test_what_it_said_itself_has_full_marks(
    do: Do, images: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wishes = {"images": images, "labels": labelled, "out": tmp_path / "scores"}
    assert do("evaluate", **wishes) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].split() == ["mean", "100.0", "100.0", "100.0"]
    assert lines[-1] == "pixel accuracy 100.0 % on 3 images"
    report = json.loads((tmp_path / "scores" / "report.json").read_text())
    assert (report["adapter"], report["miou"], report["accuracy"]) == ("base", 100, 100)
    assert {row["iou"] for row in report["classes"].values()} <= {100, None}
    assert np.sum(report["confusion"]["with concepts"]) == report["pixels"] == 3 * 200 * 280
    assert read(tmp_path / "scores" / "confusion.png").ndim == 3

    (labelled / "b.png").unlink()
    assert do("evaluate", **wishes) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "images/b.png needs" in said


def test_wrong_labels_cost_points(
    do: Do, images: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = read(labelled / "a.png")
    wrong[:50] = (wrong[:50] + 1) % 14  # a quarter of the 200 rows
    cv2.imwrite(str(labelled / "a.png"), wrong)
    assert do("evaluate", images=images, labels=labelled, json="yes", limit=1) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["accuracy"], report["frames"]) == (pytest.approx(75), 1)
    assert max(report["boundary_miou"], report["miou"]) < 100


def test_labels_without_a_class_are_refused(
    do: Do, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stem in "abc":
        cv2.imwrite(str(tmp_path / f"{stem}.png"), np.full((20, 28), 255, np.uint8))
    assert do("evaluate", images=images, labels=tmp_path) == 1
    assert "holds no pixel of the 14 classes" in capsys.readouterr().err


def test_an_unknown_adapter_is_told(
    do: Do, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do("segment", adapter="a-0099", source=images, out=tmp_path / "out") == 1
    assert "a-0099 has no readable manifest" in capsys.readouterr().err


def test_words_that_were_not_embedded_are_told(
    do: Do, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do("segment", classes="road,sky", source=images, out=tmp_path / "out") == 1
    assert "words/" in capsys.readouterr().err


def test_indices_of_another_number_of_classes_are_wrong_usage(
    do: Do, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("images/validation/a.jpg", "annotations_detectron2/validation/a.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((20, 28), np.uint8))
    assert do("evaluate", root=tmp_path, dataset="ade") == 78
    assert "number its 150 classes, the vocabulary has 14" in capsys.readouterr().err


@pytest.mark.skipif(not (SHARED / "data/camvid").is_dir(), reason="../shared/data/camvid is absent")
def test_real_pictures_and_masks_are_read(
    do: Do, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The engine's own 14 classes are not CamVid's: only that everything is read is asked here."""
    root = SHARED / "data" / "camvid" / "0016E5"
    wishes = {"images": root / "val" / "images", "labels": root / "val" / "labels"}
    assert do("evaluate", **wishes, json="yes", limit=2) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["pixels"] <= 2 * 360 * 480) == (2, True)
