"""The confusion picture and the legend, pixel by pixel where it matters."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from acclimate.runtime.picture import GREY, confusion_picture, legend, save

DARKEST = (8, 48, 107)


def test_a_row_is_dark_where_its_pixels_went(tmp_path: Path) -> None:
    table = np.array([[0.0, 9, 0], [0, 5, 0], [0, 0, 0]])
    picture = confusion_picture(table, ("aa", "bb", "cc"), "t")
    flat = picture[-12 - 120 : -12, :-12][:, -120:]  # three cells of 40, before the margin
    inner = [[tuple(flat[40 * r + 5, 40 * c + 5]) for c in range(3)] for r in range(3)]
    assert inner[0] == [(255, 255, 255), DARKEST, (255, 255, 255)]
    assert inner[1] == [(255, 255, 255), DARKEST, (255, 255, 255)]
    assert inner[2] == [GREY] * 3
    save(tmp_path / "c.png", picture)
    stored = cv2.imread(str(tmp_path / "c.png"))
    assert stored is not None
    np.testing.assert_array_equal(stored[:, :, ::-1], picture)


@pytest.mark.parametrize("classes", [2, 31, 150])
def test_any_number_of_classes_fits(classes: int) -> None:
    names = [f"a rather long class name {i}" for i in range(classes)]
    picture = confusion_picture(np.eye(classes), names, "a title " * 5)
    assert max(picture.shape) < 3000
    border = np.concatenate([picture[:5].ravel(), picture[:, -5:].ravel(), picture[-5:].ravel()])
    assert (border == 255).all()  # nothing is cut off


def test_the_legend_shows_the_colours_in_order() -> None:
    palette = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    picture = legend(("road", "sky"), palette)
    column = picture[:, 20]
    order = [tuple(c) for c in column if tuple(c) in {(255, 0, 0), (0, 0, 255)}]
    assert order == [(255, 0, 0)] * 18 + [(0, 0, 255)] * 18
