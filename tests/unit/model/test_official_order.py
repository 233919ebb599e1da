"""Our network against the official order of operations, in the cases the stored goldens lack."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from acclimate.errors import ConfigError
from acclimate.model.catseg import CATSeg
from acclimate.model.checkpoint import to_official
from acclimate.model.config import CATSegConfig
from acclimate.model.inference import label_map, predict
from benchmarks.official import Official

VITB = CATSegConfig(
    vision_width=64, vision_layers=9, vision_heads=2, embed_dim=24, text_width=32, text_layers=1,
    text_heads=2, vocab_size=70, guidance_layers=(3, 7), decoder_guidance_dims=(8, 8),
    decoder_guidance_proj_dims=(8, 4), decoder_dims=(16, 16), appearance_proj_dim=8,
    text_proj_dim=8, hidden_dim=16, num_heads=2, pad_len=12,
)  # fmt: skip
VITL = replace(VITB, image_size=(336, 336), patch_size=14, stored_grid=(24, 24))
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def network(config: CATSegConfig) -> CATSeg:
    """Seeded, with every parameter random: norms, biases and padding tokens too."""
    torch.manual_seed(0)
    made = CATSeg(config).eval()
    for name, value in made.state_dict().items():
        scale = 1.0 if value.dim() < 2 or "padding" in name else value[0].numel() ** -0.5
        value.copy_(scale * torch.randn_like(value) + ("norm" in name and "weight" in name))
    return made


def inputs(config: CATSegConfig, classes: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """An image (1,3,*size) and text (T,P,C)."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (1, 3, *size), generator=generator).float()
    text = torch.randn(classes, config.num_templates, config.embed_dim, generator=generator)
    return image, torch.nn.functional.normalize(text, dim=-1)


CASES = {
    "whole": (VITB, 5, (300, 420), False),
    "patch 14, stored grid kept": (VITL, 5, (300, 420), False),
    "pooled": (replace(VITB, pooling_size=(2, 2)), 5, (96, 64), False),
    "several templates": (replace(VITB, num_templates=3), 4, (384, 384), False),
    "sliding": (VITB, 4, (480, 640), True),
    "sliding, patch 14": (VITL, 3, (333, 500), True),
    "as many classes as padding": (VITB, 12, (200, 200), False),
    "more classes than padding": (VITB, 40, (200, 200), False),
    "more classes than padding, sliding": (VITB, 17, (200, 260), True),
    "no padding": (replace(VITB, pad_len=0), 40, (200, 200), False),
}


@pytest.mark.parametrize("case", CASES)
def test_it_gives_the_official_scores(case: str) -> None:
    config, classes, size, sliding = CASES[case]
    ours = network(config)
    image, text = inputs(config, classes, size)
    official = Official(config, to_official(ours))
    with torch.inference_mode():
        expected = (official.sliding if sliding else official.whole)(image, text, size)
        scores = predict(ours, image, text, size, sliding=sliding)
        labels, best = label_map(ours, image, text, size, sliding=sliding)
    assert float(expected.std()) > 0.01, "a case that says nothing"
    torch.testing.assert_close(scores, expected, **CLOSE)
    torch.testing.assert_close(best, expected.max(0).values, **CLOSE)
    top = expected.topk(2, 0).values
    assert bool((labels == expected.argmax(0))[top[0] - top[1] > 1e-3].all())


def test_chunks_change_nothing() -> None:
    """40 classes pass in two chunks without gradients, in one with them."""
    config = replace(VITB, pad_len=0)
    ours, (image, text) = network(config), inputs(config, 40, (384, 384))
    whole = ours(image, text).detach()
    with torch.no_grad():
        torch.testing.assert_close(ours(image, text), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sliding", [False, True])
def test_concepts_are_summed_per_class(sliding: bool) -> None:
    ours, (image, text) = network(VITB), inputs(VITB, 7, (120, 160))
    owner = torch.eye(3)[[0, 0, 1, 1, 1, 2, 2]]
    with torch.inference_mode():
        scores = predict(ours, image, text, (60, 80), sliding=sliding, string_to_class=owner)
        labels, best = label_map(
            ours, image, text, (60, 80), sliding=sliding, string_to_class=owner
        )
    assert scores.shape == (3, 60, 80)
    torch.testing.assert_close(scores.sum(0), torch.ones(60, 80))
    torch.testing.assert_close(best, scores.max(0).values)
    assert torch.equal(labels, scores.argmax(0))


def test_a_wrong_number_of_templates_is_named() -> None:
    image, text = inputs(replace(VITB, num_templates=2), 3, (64, 64))
    with pytest.raises(ConfigError, match="text of 2 templates; this network takes 1"):
        network(VITB)(image, text)
