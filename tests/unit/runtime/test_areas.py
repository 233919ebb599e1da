"""Areas, against a picture counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.runtime.areas import Areas, table_of
from acclimate.runtime.predict import Seen


def seen(labels: list[list[int]], probability: list[list[float]]) -> Seen:
    return Seen(np.array(labels, np.uint8), np.array(probability, np.float32))


def test_shares_and_confidences_by_hand() -> None:
    areas = Areas(("road", "sky", "car"))
    areas.add({"name": "one"}, seen([[0, 0], [0, 1]], [[1, 0.5], [0.6, 0.8]]))
    areas.add({"name": "two"}, seen([[1, 1]], [[0.4, 0.6]]))
    report = areas.report()
    one, two = report["frames"]
    assert one["name"] == "one"
    assert one["classes"]["road"] == {"share": 0.75, "confidence": 0.7}
    assert one["classes"]["sky"] == {"share": 0.25, "confidence": 0.8}
    assert one["confidence"] == pytest.approx(0.725)
    assert list(two["classes"]) == ["sky"]
    whole = report["overall"]
    assert whole["frames"] == 2
    assert whole["classes"]["road"] == {"share": 0.375, "confidence": 0.7}
    # sky: (0.25 * 0.8 + 1 * 0.5) / (0.25 + 1)
    assert whole["classes"]["sky"] == {"share": 0.625, "confidence": 0.56}
    assert "car" not in whole["classes"]


def test_the_table_begins_with_the_largest() -> None:
    areas = Areas(("road", "a very long name"))
    areas.add({}, seen([[1, 1, 1, 0]], [[1, 1, 1, 0.5]]))
    rows = [line.split() for line in table_of(areas.report()["overall"]).splitlines()]
    assert rows[1] == ["a", "very", "long", "name", "75.0", "100.0"]
    assert rows[2:] == [["road", "25.0", "50.0"], ["all", "100.0", "87.5"]]
