"""Real frames: skipped by name where they are not; a base trained on labels is a base like any."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from acclimate.configs.vocabulary import load_vocabulary
from acclimate.model.load import load_base
from benchmarks.camvid import main, units
from benchmarks.camvid_base import Schooling, _example, school
from benchmarks.camvid_rows import BASE, read

WORDS = load_vocabulary("camvid")
SIZE = (160, 224)


def pictures(folder: Path, count: int = 2) -> None:
    """Left half sky (0), right half road (3), a strip of void (11)."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    labels = np.full((120, 160), 3, np.uint8)
    labels[:, :80], labels[:10] = 0, 11
    for i in range(count):
        image = np.where(labels[..., None] == 0, 220, 60 + i).astype(np.uint8).repeat(3, 2)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), image)
        cv2.imwrite(str(folder / "labels" / f"{i}.png"), labels)


def test_it_says_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "0016E5" / "train")
    out = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    monkeypatch.setattr("sys.argv", ["camvid", "--data", str(tmp_path), *out])
    assert main() == 0
    told = capsys.readouterr().out
    assert told.startswith("skipped") and "0001TP/train" in told and "0016E5/train" not in told
    assert not (tmp_path / "out").exists()


def test_labels_are_class_indices_and_void_does_not_count(tmp_path: Path) -> None:
    pictures(tmp_path)
    pairs = read(tmp_path)
    image, labels = pairs[0]
    assert len(pairs) == 2 and image.shape == (120, 160, 3)
    assert set(np.unique(labels)) == {0, 3, 255}
    assert (labels[:10] == 255).all() and (labels[10:, :80] == 0).all()


def test_labels_stay_with_their_pixels(tmp_path: Path) -> None:
    pictures(tmp_path)
    image, labels = read(tmp_path)[0]
    rng = np.random.default_rng(0)
    for _ in range(8):
        seen, truth = _example(image, labels, SIZE, Schooling(jitter=0.0), rng)
        assert seen.shape == (*SIZE, 3) and truth.shape == SIZE
        inside = cv2.erode((truth == 0).astype(np.uint8), np.ones((5, 5))) > 0
        assert np.abs(seen[inside] - 220).max(initial=0) <= 1


def test_a_schooled_base_loads_and_knows_its_colours(tmp_path: Path) -> None:
    pictures(tmp_path / "film")
    pairs = read(tmp_path / "film")
    losses = school(pairs, WORDS, SIZE, 0, Schooling(steps=2, batch=1, warmup=1), tmp_path / "base")
    assert len(losses) == 2 and np.isfinite(losses).all()
    made, plain = load_base(tmp_path / "base" / "weights.safetensors"), load_base()
    assert made.digest != plain.digest and made.templates == plain.templates
    assert made.daylight is not None and plain.daylight is not None
    assert not np.array_equal(made.daylight.mean, plain.daylight.mean)
    means = np.mean([image.mean((0, 1)) for image, _ in pairs], 0)
    assert np.abs(made.daylight.mean[0] - means).max() < 2


def test_bases_come_before_what_stands_on_them() -> None:
    listed = units((0, 1))
    assert [unit.row for unit in listed[:2]] == [BASE, BASE]
    assert len(listed) == len(set(listed)) == 2 * (1 + 2 + 7)
