"""The table that people read."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.adapt.reproduce.table import markdown, result_of
from acclimate.configs.reproduction import ROWS, Task

TASK = Task("cityscapes", "data", "catseg-v1", "out", settings="generic")


def test_rows_stand_beside_the_paper_and_the_gains_over_zero_shot() -> None:
    results = [
        {"row": "zero-shot", "title": "zero-shot", "miou": 40.0},
        {"row": "concepts", "title": "zero-shot + concepts", "miou": 44.5},
        {"row": "masking", "title": "+ masking", "miou": 39.0, "steps": 5, "seconds": 4000.0},
    ]
    lines = markdown(TASK, TASK.recipe, results).splitlines()
    assert lines[4:7] == [
        "| zero-shot | 40.00 | - | 47.56 | - | - | - |",
        "| zero-shot + concepts | 44.50 | +4.50 | - | - | - | - |",
        "| + masking | 39.00 | -1.00 | 47.71 | +0.15 | 5 | 67 min |",
    ]


def test_classes_that_are_not_in_the_labels_do_not_count() -> None:
    table = np.array([[3.0, 1.0, 0.0], [1.0, 5.0, 2.0], [0.0, 0.0, 0.0]])
    found = result_of(ROWS[0], table, ("a", "b", "c"), {})
    assert found["classes"] == {"a": pytest.approx(60.0), "b": pytest.approx(500 / 9), "c": None}
    assert found["miou"] == pytest.approx((60 + 500 / 9) / 2)
