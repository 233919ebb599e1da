"""What a row sees, against mmsegmentation's slide mode written out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from acclimate.adapt.reproduce.score import look_with, score
from acclimate.adapt.words import Words
from acclimate.configs.reproduction import recipe_for
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.errors import AdaptError
from acclimate.model.load import load_base
from acclimate.runtime.datasets import Found, Pair


@pytest.mark.parametrize("concepts", [False, True])
def test_windows_side_by_side_and_their_mean(weights: Path, concepts: bool) -> None:
    """96 x 64: windows of 64 at 0 and, moved inside, at 32; their logits' mean, then the best."""
    base = load_base(weights)
    words = Words(base, load_vocabulary("cityscapes"))
    recipe = replace(recipe_for("cityscapes", "paper"), scale=(96, 64))
    picture = np.random.default_rng(2).integers(0, 256, (64, 96, 3), np.uint8)
    got = look_with(words, recipe, concepts, torch.device("cpu"))(picture, (32, 48))

    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    total, count = torch.zeros(1), torch.zeros(64, 96)
    with torch.no_grad():
        text = words.embed() if concepts else words.embed_names()
        for x in (0, 32):
            logits = base.network(pixels[..., x : x + 64], text)
            whole = F.interpolate(logits, (64, 64), mode="bilinear")
            total = total + F.pad(whole, (x, 32 - x))
            count[:, x : x + 64] += 1
        scores = F.interpolate(total / count, (32, 48), mode="bilinear")[0]
        if concepts:
            scores = torch.einsum("shw,st->thw", scores.softmax(0), words.owner)
    expected = scores.argmax(0).numpy()
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(got, expected)


def test_counts_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text('{"pictures": 1, "confusion": [[1]]}')
    vocabulary, found = (
        load_vocabulary("cityscapes"),
        Found("x", "index", (Pair(tmp_path, tmp_path),)),
    )
    with pytest.raises(AdaptError, match=r"scores\.json.*delete it"):
        score(lambda *_: np.zeros((1, 1), np.uint16), found, vocabulary, tmp_path, "x")
