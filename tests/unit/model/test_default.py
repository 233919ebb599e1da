"""The shipped default, and what may go wrong with weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from acclimate.errors import CheckpointError
from acclimate.model.inference import class_probabilities
from acclimate.model.load import EMBEDDED, load_base
from acclimate.model.pretrain import Training, balance, choose_strings, learning_rate
from acclimate.model.projections import merged_projections
from acclimate.model.text import embed_strings


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    for name in ("weights.safetensors", "config.json"):
        (tmp_path / name).write_bytes((EMBEDDED["default"].parent / name).read_bytes())
    return tmp_path / "weights.safetensors"


def test_the_default_is_small_and_its_log_fits_its_script() -> None:
    assert (EMBEDDED["default"].parent / "weights.safetensors").stat().st_size <= 10 * 10**6
    record = json.loads((EMBEDDED["default"].parent / "train_log.json").read_text())
    assert record["settings"] == asdict(Training())
    assert record["log"][-1]["step"] == Training().steps


def test_a_copy_elsewhere_is_the_same_model(weights: Path) -> None:
    one, two = load_base(), load_base(weights)
    assert one.digest == two.digest
    words = ["road", "car", "umbrella"]
    found = [embed_strings(b.network, words, b.templates, b.known) for b in (one, two)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_words_nobody_trained_on_differ_from_each_other() -> None:
    base = load_base()
    features = embed_strings(base.network, ["zebra", "quilt", "road"], base.templates, base.known)
    close = features[:, 0] @ features[:, 0].T
    assert float((close - torch.eye(3)).max()) < 0.999


def test_every_wrong_key_is_named(weights: Path) -> None:
    state = load_file(weights)
    names = [name for name in state if name.endswith("weight")]
    del state[names[0]]
    state[names[1]] = state[names[1]][:1]
    state["stranger"] = torch.zeros(1)
    save_file(state, weights)
    with pytest.raises(CheckpointError) as caught:
        load_base(weights)
    said = str(caught.value)
    assert [w for w in (names[0], names[1], "stranger") if w not in said] == []


@pytest.mark.parametrize("keep", [0, 7, 1000, 100_000])
def test_a_truncated_file_is_named(weights: Path, keep: int) -> None:
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        load_base(weights)


@pytest.mark.parametrize("text", ["", "{}", '{"network": {"depth": 3}, "template": "{}"}'])
def test_a_bad_config_is_named(weights: Path, text: str) -> None:
    weights.with_name("config.json").write_text(text)
    with pytest.raises(CheckpointError):
        load_base(weights)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("this must not run",))

    (tmp_path / "config.json").write_text((EMBEDDED["default"].parent / "config.json").read_text())
    path = tmp_path / "weights.pth"
    torch.save({"model": Evil()}, path)
    with pytest.raises(CheckpointError, match=r"weights\.pth"):
        load_base(path)


def test_projections_of_the_base_are_its_own_weights() -> None:
    network = load_base().network
    found = merged_projections(network, 2)
    assert sorted(found) == sorted(f"visual.{b}.{n}_proj.weight" for b in (0, 1) for n in "qkv")
    own = network.clip.visual.resblocks[1].attn.v_proj.weight
    torch.testing.assert_close(found["visual.1.v_proj.weight"], own, rtol=0, atol=0)


def test_concepts_add_up() -> None:
    logits = torch.randn(1, 3, 2, 2)
    owner = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    found = class_probabilities(logits, owner, (2, 2))
    torch.testing.assert_close(found.sum(1), torch.ones(1, 2, 2))
    torch.testing.assert_close(found[:, 0], logits.softmax(1)[:, :2].sum(1))


def test_left_out_classes_are_ignored_in_training() -> None:
    labels = torch.arange(16).view(1, 4, 4)
    words, target = choose_strings(labels, Training(min_strings=10), np.random.default_rng(0))
    assert sorted(target[target != 255].tolist()) == list(range(len(words)))
    weight = balance(target, len(words))
    assert float(weight.mean()) == pytest.approx(1, abs=0.01)


def test_the_rate_warms_up_and_falls() -> None:
    training = Training()
    rates = [learning_rate(step, training) for step in range(training.steps)]
    assert max(rates) == pytest.approx(training.lr)
    assert rates[0] < 0.02 * training.lr
    assert rates[-1] == pytest.approx(0.02 * training.lr, rel=0.01)
