"""The recipes hold what the paper and the released configurations say."""

from __future__ import annotations

from typing import Any

import pytest

from acclimate.configs.reproduction import (
    DATASETS,
    ROWS,
    SETTINGS,
    Dataset,
    Settings,
    Task,
    read_task,
    recipe_for,
    rows_named,
)
from acclimate.errors import ConfigError

SAID = [  # the paper's text and Table 2; configs/vocalign/{cityscapes,ade20k,pc59}.py
    ("paper", "cityscapes", {"steps": 40_000, "batch": 2, "lr": 5e-5, "rank": 2, "blocks": 4,
                             "top_k": 15, "mask_ratio": 0.7, "crop": 512}),
    ("paper", "ade", {"steps": 15_000, "lr": 3e-5, "mask_ratio": 0.5, "top_k": 50}),
    ("generic", "cityscapes", {"steps": 15_000, "lr": 3e-5, "batch": 2, "mask_ratio": 0.5}),
    ("released", "cityscapes", {"lr": 5e-6, "rank": 1, "alpha": 1.0, "blocks": 5, "top_k": 19,
                                "warmup_steps": 100, "crop": 384, "weighting": "none"}),
    ("released", "pc59", {"lr": 3e-6, "rank": 2, "alpha": 2.0, "blocks": 5, "top_k": 35,
                          "warmup_steps": 500, "batch": 1, "steps": 15_000, "mask_ratio": 0.5}),
    ("released", "ade", {"lr": 3e-6, "rank": 2, "top_k": 50, "batch": 1, "guidance": "clean"}),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "dataset", "keys"), SAID)
def test_settings_are_those_published(
    settings: Settings, dataset: Dataset, keys: dict[str, Any]
) -> None:
    found = recipe_for(dataset, settings).settings
    assert {key: getattr(found, key) for key in keys} == keys


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_rows_differ_in_what_the_table_says(dataset: Dataset, settings: Settings) -> None:
    recipe = recipe_for(dataset, settings)
    learned = [recipe.settings_of(row) for row in ROWS if row.keys is not None]
    assert [one.strategy for one in learned] == [
        "entropy", "teacher_student", "masking", "vocalign", "vocalign",
    ]  # fmt: skip
    assert [one.top_k for one in learned[3:]] == [0, recipe.settings.top_k]
    assert [row.name for row in ROWS if row.concepts] == ["concepts"]
    assert recipe.published["zero-shot"] > 0
    assert "concepts" not in recipe.published


def test_the_gains_are_the_papers() -> None:
    """Table 2: +2.02, +1.49, +0.51; Cityscapes with settings of its own: +6.11."""
    gains = {}
    for dataset in DATASETS:
        table = recipe_for(dataset, "generic").published
        gains[dataset] = round(table["top-k"] - table["zero-shot"], 2)
    assert gains == {"cityscapes": 2.02, "pc59": 1.49, "ade": 0.51}
    table = recipe_for("cityscapes", "paper").published
    assert table["top-k"] - table["zero-shot"] == pytest.approx(6.11)


def test_rows_are_named_or_refused() -> None:
    assert [row.name for row in rows_named("top-k,zero-shot")] == ["zero-shot", "top-k"]
    with pytest.raises(ConfigError, match=r"no 'tent'.*min-entropy"):
        rows_named("tent")


def test_a_task_comes_through_the_command_line_of_a_process() -> None:
    task = Task("ade", "d", "w", "o", steps=7, seed=3, device="cpu")
    assert read_task(task.dumps()) == task
    assert (task.recipe.settings.steps, task.recipe.settings.seed) == (7, 3)
    assert Task("ade", "d", "w", "o").recipe.settings.steps == 15_000
