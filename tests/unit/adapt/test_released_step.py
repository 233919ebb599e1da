"""Our step with the preset `released` against a transcription of the released one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from acclimate.adapt.batch import Batch, Frames, to_images
from acclimate.adapt.compute import compute_for
from acclimate.adapt.learner import Learner
from acclimate.adapt.lora import lora_tensors, network_of
from acclimate.adapt.strategy import Setup
from acclimate.adapt.words import Words
from acclimate.configs.adapt import preset
from acclimate.model.checkpoint import to_official
from acclimate.model.text import token_ids
from benchmarks.released import CLIP, Released, ReleasedStep
from tests.unit.adapt.conftest import KNOWN

Make = Callable[..., Setup]
STILL: dict[str, Any] = {
    "jitter": 0.0, "hue": 0.0, "grayscale": 0.0, "blur": 0.0, "mask_ratio": 0.0, "rank": 2,
    "alpha": 2.0, "warmup_steps": 0, "lr": 1e-2,
}  # fmt: skip
RANK, GAMMA = 2, 2**0.5


def released_name(ours: str) -> str:
    """PEFT's name of a LoRA tensor -> the released one."""
    parts = ours.split(".")
    tower, block, part = parts[parts.index("clip") + 1], parts[-6], parts[-4][0]
    stem = f"{CLIP}{'visual.' if tower == 'visual' else ''}transformer.resblocks.{block}.attn."
    return f"{stem}{'a' if 'lora_A' in ours else 'b'}_proj_weight_lora_{part}"


def ids(words: Words, strings: tuple[str, ...]) -> Tensor:
    texts = [t.format(s) for s in strings for t in words.templates]
    return token_ids(words.base.network, texts, KNOWN).unflatten(0, (len(strings), -1))


def state_of(setup: Setup) -> dict[str, Tensor]:
    """The base under released names; LoRA from ours."""
    network = network_of(setup.model)
    plain = {
        name.replace(".base_layer.", "."): value
        for name, value in network.state_dict().items() if "lora_" not in name
    }  # fmt: skip
    fresh = type(network)(network.config)
    fresh.load_state_dict(plain, strict=False)
    lora = {released_name(n): v.detach().clone() for n, v in lora_tensors(setup.model).items()}
    return {n: v.clone() for n, v in to_official(fresh).items()} | lora


@pytest.fixture
def setup(make: Make) -> Setup:
    return make("v1", preset("released", blocks=2, top_k=2, **STILL))


def test_the_transcription_is_the_network(setup: Setup, frames: Frames) -> None:
    """With an adapter, two images, other eyes for the ResNet; frozen statistics, no dropout."""
    with torch.no_grad():
        for value in lora_tensors(setup.model).values():
            value.normal_(std=0.3, generator=torch.Generator().manual_seed(4))
    network, words = network_of(setup.model), setup.words
    theirs = Released(network.config, state_of(setup), GAMMA, training=False)
    clean, view = to_images(frames[:2]), to_images(frames[2:4])
    with torch.no_grad():
        text = theirs.texts(ids(words, words.strings))
        torch.testing.assert_close(text, words.embed(), rtol=1e-4, atol=1e-5)
        got = theirs.logits(clean, view, text[None].repeat(2, 1, 1, 1))
        features = network.features(network.preprocess(view), network.preprocess(clean))  # type: ignore[call-arg]
        expected = network.decode(features, text)
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


def test_both_steps_learn_the_same(setup: Setup, frames: Frames) -> None:
    """Losses and adapter over three steps; statistics and dropout of the release switched off."""
    words, images = setup.words, to_images(frames[:1])
    owner = words.owner.argmax(1)
    theirs = ReleasedStep(
        network_of(setup.model).config, state_of(setup), ids(words, words.strings),
        ids(words, words.texts), owner, top_k=2, lr=1e-2, gamma=GAMMA,
    )  # fmt: skip
    theirs.student.training = theirs.teacher.training = False
    one = Learner(compute_for(setup.settings), setup.model, words, setup.settings, 0)
    batch = Batch(images, torch.ones(1, 64, 64, dtype=torch.bool))
    for _ in range(3):
        assert one.step(batch).loss == pytest.approx(theirs(images, images), rel=2e-3)
    moved = torch.cat(
        [v.detach().flatten() for n, v in lora_tensors(setup.model).items() if "lora_B" in n]
    )
    other = torch.cat([
        theirs.student.state[released_name(n)].detach().flatten()
        for n in lora_tensors(setup.model) if "lora_B" in n
    ])  # fmt: skip
    assert float(moved.abs().max()) > 5e-3
    assert float(((moved - other).abs() < 2e-3).float().mean()) > 0.95


def test_the_release_computes_what_it_does_not_use(setup: Setup, frames: Frames) -> None:
    """Gradients at rate 0, statistics that move: what ours leaves out."""
    words = setup.words
    theirs = ReleasedStep(
        network_of(setup.model).config, state_of(setup), ids(words, words.strings),
        ids(words, words.texts), words.owner.argmax(1), top_k=2,
    )  # fmt: skip
    before = {n: v.detach().clone() for n, v in theirs.student.state.items()}
    theirs(to_images(frames[:2]), to_images(frames[:2]))
    after = theirs.student.state
    frozen = [
        n for n in theirs.names if n.startswith(("neck.", "decode_head.", "backbone.feature"))
    ]
    assert all(after[n].grad is not None for n in frozen)
    assert all(torch.equal(before[n], after[n]) for n in frozen)
    assert any(not torch.equal(before[n], after[n]) for n in after if "running_mean" in n)
