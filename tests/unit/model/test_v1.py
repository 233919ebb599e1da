"""CAT-Seg v1's own ways: windows side by side, tiled templates (exactness: tests/golden)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.model.config import V1_R101_VITB, CATSegConfig
from acclimate.model.inference import label_map, predict
from acclimate.model.v1 import CATSegV1

TINY = CATSegConfig(
    variant="v1", image_size=(64, 64), patch_size=16, stored_grid=(4, 4), vision_width=16,
    vision_layers=2, vision_heads=2, embed_dim=8, text_width=8, text_layers=1, text_heads=2,
    vocab_size=70, guidance_layers=(), decoder_guidance_dims=(32, 16), resnet_width=4,
    decoder_guidance_proj_dims=(4, 4), decoder_dims=(16, 16), appearance_proj_dim=4,
    text_proj_dim=4, num_templates=2, template_tiles=3, num_heads=2, hidden_dim=8, window_size=2,
    pad_len=0, resnet_blocks=(1, 1, 1),
)  # fmt: skip


@pytest.fixture
def network() -> CATSegV1:
    torch.manual_seed(0)
    return CATSegV1(TINY).eval().requires_grad_(False)


@pytest.fixture
def text() -> Tensor:
    return F.normalize(torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(1)), dim=-1)


def picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(2)) * 255


def test_the_release_has_the_published_size() -> None:
    with torch.device("meta"):
        network = CATSegV1(V1_R101_VITB)
    assert sum(p.numel() for p in network.parameters()) == 180_642_082
    assert sum(p.numel() for p in network.resnet.parameters()) == 27_535_424


def test_windows_side_by_side_the_last_moved_inside(network: CATSegV1, text: Tensor) -> None:
    """80x150 with windows of 64: rows from 0 and 16, columns from 0, 64 and 86."""
    image, total, count = picture(80, 150), torch.zeros(3, 80, 150), torch.zeros(80, 150)
    for y in (0, 16):
        for x in (0, 64, 86):
            logits = network(image[..., y : y + 64, x : x + 64], text)
            total[:, y : y + 64, x : x + 64] += F.interpolate(logits, (64, 64), mode="bilinear")[0]
            count[y : y + 64, x : x + 64] += 1
    expected = total / count
    torch.testing.assert_close(predict(network, image, text, (80, 150)), expected)
    labels, _ = label_map(network, image, text, (80, 150))
    assert torch.equal(labels, expected.argmax(0))
    half = F.interpolate(expected[None], (40, 75), mode="bilinear")[0]
    torch.testing.assert_close(predict(network, image, text, (40, 75)), half)


def test_concepts_share_one_softmax(network: CATSegV1, text: Tensor) -> None:
    image, owner = picture(64, 100), torch.eye(2)[[0, 1, 1]]
    strings = predict(network, image, text, (64, 100)).softmax(0)
    found = predict(network, image, text, (64, 100), string_to_class=owner)
    torch.testing.assert_close(found, torch.stack([strings[0], strings[1] + strings[2]]))


def test_an_image_smaller_than_a_window_is_enlarged(network: CATSegV1, text: Tensor) -> None:
    image = picture(32, 40)
    larger = F.interpolate(image, (64, 80), mode="bilinear")
    expected = F.interpolate(
        predict(network, larger, text, (64, 80))[None], (32, 40), mode="bilinear"
    )
    torch.testing.assert_close(predict(network, image, text, (32, 40)), expected[0])


def test_tiled_templates_are_the_same_as_tiled_features(network: CATSegV1, text: Tensor) -> None:
    """[t0, t1, t0, t1, t0, t1] fills the six channels of conv1 as two templates do."""
    tiled = network(picture(64, 64), text.repeat(1, 3, 1))
    torch.testing.assert_close(network(picture(64, 64), text), tiled, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_resnet_may_be_shown_another_image(network: CATSegV1) -> None:
    image, other = picture(64, 64), picture(64, 64).flip(-1)
    own, theirs = network.features(image), network.features(other)
    mixed = network.features(image, other)
    assert torch.equal(mixed.dense, own.dense) and torch.equal(mixed.tokens, own.tokens)
    for ours, expected in zip(mixed.guidance, theirs.guidance, strict=True):
        assert torch.equal(ours, expected)
