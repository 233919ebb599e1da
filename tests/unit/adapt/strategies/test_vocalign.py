"""What the teacher hands on, on probabilities small enough to read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from acclimate.adapt.strategies.vocalign import teach
from acclimate.adapt.vocalign import IGNORE
from acclimate.configs.adapt import AdaptConfig

# One row of four pixels, three classes, eighths.
PROB = torch.tensor([[5, 2, 1], [4, 1, 3], [3, 1, 4], [2, 6, 0]]).T.reshape(1, 3, 1, 4) / 8
SEEN = torch.ones(1, 1, 4, dtype=torch.bool)
PLAIN = AdaptConfig(
    ignore_unsure=False, ignore_pruned=False, keep_safety=False, weighting="none", balance=0.0
)


def taught(valid: Tensor = SEEN, safety: tuple[int, ...] = (), **keys: Any) -> Any:
    return teach(PROB, valid, replace(PLAIN, **keys), list(safety))


@pytest.mark.parametrize(
    ("keys", "labels", "classes"),
    [
        ({}, [0, 0, 2, 1], [0, 1, 2]),
        ({"top_k": 99}, [0, 0, 2, 1], [0, 1, 2]),
        ({"top_k": 2}, [0, 0, 0, 1], [0, 1]),
        ({"top_k": 2, "ignore_pruned": True}, [0, 0, IGNORE, 1], [0, 1]),
        ({"top_k": 1, "prune_student": False}, [0, 0, 0, 0], [0, 1, 2]),
        ({"top_k": 2, "keep_safety": True, "safety": (2,)}, [0, 0, 1, 0], [0, 2]),
        ({"top_k": 1, "safety": (2,)}, [0, 0, 0, 0], [0]),
        ({"ignore_unsure": True, "tau": 0.5}, [0, 0, 2, 1], [0, 1, 2]),
        ({"ignore_unsure": True, "tau": 0.5, "tau_strict": True},
         [0, IGNORE, IGNORE, 1], [0, 1, 2]),
    ],
)  # fmt: skip
def test_labels_are_among_the_students_classes(
    keys: dict[str, Any], labels: list[int], classes: list[int]
) -> None:
    found = taught(**keys)
    assert found.classes.tolist() == [classes]
    assert found.labels.flatten().tolist() == labels


def test_the_hood_has_no_part_in_labels_classes_and_weights() -> None:
    """Without the last pixel class 2 is more active than class 1, and half of the rest is sure."""
    hood = SEEN.clone()
    hood[..., 3] = False
    found = taught(hood, top_k=2, weighting="q_image", tau=0.6)
    assert found.classes.tolist() == [[0, 2]]
    assert found.labels.flatten().tolist() == [0, 0, 1, IGNORE]
    assert found.weights.flatten().tolist() == pytest.approx([1 / 3] * 3 + [0.0])


@pytest.mark.parametrize(
    ("keys", "weights"),
    [
        ({}, [1.0] * 4),
        ({"weighting": "q_image", "tau": 0.5}, [1.0] * 4),
        ({"weighting": "q_image", "tau": 0.5, "tau_strict": True}, [0.5] * 4),
        ({"weighting": "q_batch", "tau": 0.7}, [0.25] * 4),
        ({"weighting": "pixel"}, [5 / 8, 4 / 8, 4 / 8, 6 / 8]),
        ({"balance": 1.0}, [2 / 3, 2 / 3, 4 / 3, 4 / 3]),
    ],
)
def test_weights(keys: dict[str, Any], weights: list[float]) -> None:
    assert taught(**keys).weights.flatten().tolist() == pytest.approx(weights)
