"""The whole table on a miniature of Cityscapes: scored right, stopped, gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from acclimate.adapt.learner import Learner
from acclimate.adapt.reproduce import learn, main, score
from acclimate.configs.reproduction import ROWS, Dataset, Task, recipe_for
from acclimate.errors import ConfigError, SourceError
from tests.unit.adapt.reproduce.conftest import small


def adapters(task: Task) -> dict[str, dict[str, torch.Tensor]]:
    files = sorted(Path(task.out).glob("*/adapter/adapter_model.safetensors"))
    return {file.parts[-3]: load_file(file) for file in files}


@pytest.mark.parametrize("dataset", ["cityscapes", "pc59", "ade"])
def test_every_row_of_every_data_set(
    task: Task, miniature: Callable[[Dataset], Path], dataset: Dataset
) -> None:
    task = replace(task, dataset=dataset, data=str(miniature(dataset)), steps=2)
    rows = "zero-shot,concepts,top-k" if dataset != "cityscapes" else task.rows
    results = main.run(replace(task, rows=rows), small(task))
    assert [one["row"] for one in results] == rows.split(",")
    told = json.loads((Path(task.out) / "results.json").read_text())
    assert told["rows"] == results
    text = (Path(task.out) / "results.md").read_text()
    assert f"| + Top-K (full) | {results[-1]['miou']:.2f} |" in text
    assert adapters(task).keys() == {row.name for row in ROWS if row.keys is not None
                                     and row.name in rows.split(",")}  # fmt: skip
    for tensors in adapters(task).values():
        assert any(bool(v.any()) for n, v in tensors.items() if "lora_B" in n)


class KilledError(Exception):
    """The process is gone."""


def kill_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """The learner's step after so many raises."""
    whole, seen = Learner.step, [0]

    def step(self: Learner, batch: Any) -> Any:
        if seen[0] == steps:
            raise KilledError
        seen[0] += 1
        return whole(self, batch)

    monkeypatch.setattr(Learner, "step", step)


@pytest.mark.parametrize("row", ["min-entropy", "top-k"])
def test_a_killed_row_ends_as_one_that_was_not(
    task: Task, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], row: str
) -> None:
    """To the bit: adapter and counts; jitter, masks and blur are drawn in every step."""
    monkeypatch.setattr(learn, "PAUSE", 0.0)
    task = replace(task, rows=row)
    recipe = small(task, blur=0.5, ema_warmup=True)
    (whole,) = main.run(replace(task, out=task.out + "-whole"), recipe)
    for survived in (1, 2):  # killed twice, at different places
        with monkeypatch.context() as patch:
            kill_after(patch, survived)
            with pytest.raises(KilledError):
                main.run(task, recipe)
    (got,) = main.run(task, recipe)
    told = capsys.readouterr().err
    assert "goes on from step 1\n" in told
    assert "goes on from step 3\n" in told
    assert got["confusion"] == whole["confusion"]
    assert got["last_loss"] == whole["last_loss"]
    mine, other = (adapters(replace(task, out=out))[row] for out in (task.out, task.out + "-whole"))
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_a_killed_evaluation_goes_on(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "PAUSE", 0.0)
    task = replace(task, rows="zero-shot")
    (whole,) = main.run(replace(task, out=task.out + "-whole"), small(task))
    read, seen = score.read_truth, list[Path]()

    def counted(path: Path, *others: Any) -> Any:
        if len(seen) == 2:
            seen.append(path)
            raise KilledError
        seen.append(path)
        return read(path, *others)

    monkeypatch.setattr(score, "read_truth", counted)
    with pytest.raises(KilledError):
        main.run(task, small(task))
    (got,) = main.run(task, small(task))
    assert len(seen) == 4  # two, the one it died of, and that one again
    assert got["confusion"] == whole["confusion"]


def test_a_folder_begun_with_something_else_is_refused(task: Task) -> None:
    task = replace(task, rows="zero-shot")
    main.run(task, small(task))
    main.run(replace(task, threads=2), small(replace(task, threads=2)))
    with pytest.raises(ConfigError, match=r"another steps.*--out"):
        main.run(replace(task, steps=5), small(replace(task, steps=5)))
    (Path(task.out) / "task.json").write_text("{")
    with pytest.raises(ConfigError, match=r"task\.json"):
        main.run(task, small(task))


def test_a_torn_state_names_its_file(
    task: Task, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = replace(task, rows="top-k")
    (Path(task.out) / "top-k").mkdir(parents=True)
    (Path(task.out) / "top-k" / "training.pt").write_bytes(b"PK torn")
    monkeypatch.setattr(Task, "recipe", property(small_of_wide))
    assert main.main(["--task", task.dumps()]) == 1
    assert "training.pt" in (told := capsys.readouterr().err)
    assert "delete it" in told


def small_of_wide(task: Task) -> Any:
    wide = recipe_for(task.dataset, task.settings, steps=task.steps, device="cpu")
    settings = replace(wide.settings, crop=32, blocks=2)
    return replace(wide, scale=(96, 48), settings=settings)


def test_training_and_scored_pictures_must_differ(
    task: Task, miniature: Callable[[Dataset], Path]
) -> None:
    root = miniature("pc59")
    (root / "ImageSets/SegmentationContext/val.txt").unlink()
    with pytest.raises(SourceError, match="both in train and in val"):
        main.run(
            replace(task, dataset="pc59", data=str(root)), small(replace(task, dataset="pc59"))
        )


def test_zero_shot_counts_by_hand(task: Task) -> None:
    """Every labelled pixel once: three pictures of 48 x 96."""
    (row,) = main.run(replace(task, rows="zero-shot"), small(task))
    table = np.array(row["confusion"])
    assert table.sum() == 3 * 48 * 96
    ious = [table[i, i] / (table[i].sum() + table[:, i].sum() - table[i, i]) for i in range(19)]
    there = [100 * iou for iou, seen in zip(ious, table.sum(1), strict=True) if seen]
    assert row["miou"] == pytest.approx(np.mean(there))
