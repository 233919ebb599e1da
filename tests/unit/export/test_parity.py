"""An engine against what fp32 torch saw: every number is what it says, and outside is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from acclimate.configs.vocabulary import load_vocabulary
from acclimate.errors import EngineLoadError, ParityError
from acclimate.export.main import meanings
from acclimate.export.parity import (
    CLEAR,
    REFERENCE,
    TOLERANCES,
    Reference,
    check,
    has_reference,
    measure,
    reference_of,
)  # fmt: skip
from acclimate.runtime.engine import Engine, EngineInfo
from acclimate.runtime.engines import open_engine
from tests.unit.export.conftest import CLASSES, SIZE, Exported

SEEN = ("labels", "probability", "confidence", "histogram", "embedding")
NONE = dict.fromkeys(("probability", "confidence", "embedding", "labels", "clear_labels"), 0.0)


class Recites:
    """A library that answers with arrays that were written down, frame by frame."""

    name = "recites"

    def __init__(self, frames: NDArray[np.uint8], answers: dict[str, NDArray[Any]]) -> None:
        self._frames, self._answers = list(frames), answers

    def stage(self, inputs: object, spare: object) -> Recites:
        return self

    def run(self, frames: Sequence[NDArray[np.uint8]], outputs: Sequence[str]) -> list[Any]:
        at = next(i for i, one in enumerate(self._frames) if np.array_equal(one, frames[0]))
        return [self._answers[name][at][None] for name in outputs]

    def twin(self) -> Recites:
        return self

    def close(self) -> None:
        pass


@pytest.fixture
def reference(exported: Exported) -> Reference:
    return reference_of(exported.folder)


def apart(exported: Exported, reference: Reference, **other: NDArray[Any]) -> dict[str, float]:
    """What is measured where an engine answers as torch did, but for `other`."""
    answers = {name: getattr(reference, name) for name in SEEN} | other
    backend = Recites(reference.frames, answers)
    return measure(Engine(EngineInfo.load(exported.folder), backend), reference)


def test_the_reference_is_what_the_graph_was_made_for(reference: Reference) -> None:
    count = len(reference.frames)
    assert (count, reference.frames.shape[1:]) == (2, (*SIZE, 3))
    for name in ("labels", "probability", "margin", "truth"):
        assert getattr(reference, name).shape == (count, *SIZE)
    assert reference.histogram.shape == (count, CLASSES)
    shares = [np.bincount(m.ravel(), minlength=CLASSES) / m.size for m in reference.labels]
    np.testing.assert_allclose(reference.histogram, shares, atol=1e-6)
    assert (reference.margin >= 0).all()
    assert (reference.margin <= reference.probability + 1e-6).all()
    assert (reference.truth == 255).all()


def test_the_graph_itself_is_at_parity(exported: Exported, reference: Reference) -> None:
    found = measure(open_engine(exported.folder, 1, "onnxruntime-cpu"), reference)
    check(found, "fp32")
    assert 0 < found["probability"] < 1e-4


def test_the_same_answers_are_no_difference(exported: Exported, reference: Reference) -> None:
    assert apart(exported, reference) == NONE


@pytest.mark.parametrize("name", ["probability", "confidence", "embedding"])
def test_the_greatest_difference_counts(
    exported: Exported, reference: Reference, name: str
) -> None:
    value = getattr(reference, name).copy()
    value[-1].flat[3 % value[-1].size] -= 0.25
    found = apart(exported, reference, **{name: value})
    assert found == pytest.approx(NONE | {name: 0.25}, abs=1e-6)
    for precision in TOLERANCES:
        with pytest.raises(ParityError, match=rf"{precision} engine: {name} differs by 0.25"):
            check(found, precision)


def test_clear_pixels_count_twice(exported: Exported, reference: Reference) -> None:
    margin = np.zeros_like(reference.margin)
    margin[0, :4, :5] = CLEAR
    reference = replace(reference, margin=margin)
    labels = reference.labels.copy()
    labels[0, :4, :2] = (labels[0, :4, :2] + 1) % CLASSES  # 8 of the 20 that are clear
    labels[1, 0, :2] = (labels[1, 0, :2] + 1) % CLASSES  # 2 that are not
    found = apart(exported, reference, labels=labels)
    expected = {"labels": 10 / labels.size, "clear_labels": 8 / 20}
    assert found == pytest.approx(NONE | expected)
    with pytest.raises(ParityError, match=r"int8 engine: clear_labels differs by 0.4, allowed"):
        check(found, "int8")


def test_miou_is_compared_where_something_is_known(
    exported: Exported, reference: Reference
) -> None:
    truth = np.full_like(reference.truth, 255)
    truth[0, 0, :4], truth[0, 1, :4] = 0, 1
    right = reference.labels.copy()
    right[0, 0, :4], right[0, 1, :4] = 0, 1
    reference = replace(reference, truth=truth, labels=right)
    labels = right.copy()
    labels[0, 0, 0] = 1  # IoU 3/4 and 4/5 in place of 1 and 1
    found = apart(exported, reference, labels=labels)
    assert found["miou"] == pytest.approx(100 - (75 + 80) / 2)
    assert apart(exported, reference)["miou"] == 0


def test_numbers_that_are_none_are_no_parity() -> None:
    with pytest.raises(ParityError, match="bf16 engine: embedding differs by nan"):
        check(NONE | {"embedding": float("nan")}, "bf16")


def test_every_precision_bounds_every_number() -> None:
    assert {frozenset(table) for table in TOLERANCES.values()} == {frozenset((*NONE, "miou"))}
    for table in TOLERANCES.values():
        check(NONE | table, next(name for name, one in TOLERANCES.items() if one == table))


@pytest.mark.parametrize("damage", ["flipped", "truncated", "gone", "unnamed", "empty"])
def test_a_damaged_reference_is_told(exported: Exported, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(exported.folder, tmp_path / "engine"))
    path, record = folder / REFERENCE, json.loads((folder / "engine.json").read_text())
    content = path.read_bytes()
    assert has_reference(folder)
    if damage == "unnamed":
        del record["reference_sha256"]
    elif damage == "gone":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
        # sha256 of nothing
        record["reference_sha256"] = (
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        )
    else:
        half = len(content) // 2
        path.write_bytes(
            content[:half] + (b"" if damage == "truncated" else b"x" + content[half + 1 :])
        )
    (folder / "engine.json").write_text(json.dumps(record))
    with pytest.raises(EngineLoadError, match=r"reference\.safetensors is .*`acclimate export`"):
        reference_of(folder)
    assert not has_reference(folder)


@pytest.mark.parametrize(("name", "road", "grass"), [("world", 0, 2), ("cityscapes", 0, 9)])
def test_the_worlds_labels_mean_classes(name: str, road: int, grass: int) -> None:
    words = load_vocabulary(name)
    table = meanings(words)
    assert (table[0], table[2], table[255]) == (road, grass, 255)
    car = next(i for i, one in enumerate(words.classes) if one.name == "car")
    assert table[11] == car


def test_the_default_knows_the_truth_of_its_frames(prepared: Path) -> None:
    reference = reference_of(prepared / "engine")
    assert len(reference.frames) == 4
    assert (reference.truth < 14).all()
    right = (reference.labels == reference.truth).mean()
    assert right > 0.8  # the default has learned this world
