"""How the shipped default was trained, and that what is shipped is what that makes."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from acclimate.model import pretrain
from acclimate.model.colour import Daylight
from acclimate.model.load import EMBEDDED, load_base
from acclimate.model.pretrain import (
    AUGMENTED,
    SYNONYMS,
    TEMPLATE,
    Training,
    balance,
    choose_strings,
    default_config,
    known_tokens,
    learning_rate,
    measured_daylight,
)
from acclimate.world import IGNORE, SOURCE_NAMES

CLASSES = len(SOURCE_NAMES)


def labels_of_all() -> torch.Tensor:
    """A pixel of every class and one that is ignored (1, 1, T+1)."""
    return torch.tensor([[[*range(CLASSES), IGNORE]]])


@pytest.mark.parametrize("seed", range(8))
def test_a_vocabulary_is_a_word_a_class_and_labels_follow(seed: int) -> None:
    training = Training()
    words, target = choose_strings(labels_of_all(), training, np.random.default_rng(seed))
    assert training.min_strings <= len(words) <= CLASSES
    owner = {word: i for i, group in enumerate(SYNONYMS) for word in group}
    classes = [owner[word] for word in words]
    assert len(set(classes)) == len(classes)
    for index, c in enumerate(classes):
        assert int(target[0, 0, c]) == index
    left_out = sorted(set(range(CLASSES)) - set(classes))
    assert [int(target[0, 0, c]) for c in (*left_out, CLASSES)] == [IGNORE] * (len(left_out) + 1)


def test_every_length_and_every_synonym_is_drawn() -> None:
    rng, training = np.random.default_rng(0), Training()
    draws = [choose_strings(labels_of_all(), training, rng)[0] for _ in range(200)]
    assert {len(words) for words in draws} == set(range(training.min_strings, CLASSES + 1))
    assert {word for words in draws for word in words} == {w for g in SYNONYMS for w in g}


def test_there_are_synonyms_for_every_class_and_none_is_shared() -> None:
    assert [group[0] for group in SYNONYMS] == list(SOURCE_NAMES)
    words = [word for group in SYNONYMS for word in group]
    assert len(set(words)) == len(words)


def test_rare_classes_weigh_more_and_the_mean_is_one() -> None:
    target = torch.tensor([0] * 6400 + [1] * 400 + [IGNORE] * 999).view(1, 1, -1)
    weight = balance(target, 3)
    assert float(weight[1] / weight[0]) == pytest.approx(4.0)
    assert float(weight[2]) == 0
    assert float((6400 * weight[0] + 400 * weight[1]) / 6800) == pytest.approx(1.0)


def test_a_handful_of_pixels_does_not_take_over() -> None:
    target = torch.tensor([0] * 5000 + [1]).view(1, 1, -1)
    weight = balance(target, 2)
    assert float(weight[1] / weight[0]) == pytest.approx(10.0)


def test_nothing_to_learn_weighs_nothing() -> None:
    assert balance(torch.full((1, 2, 2), IGNORE), 3).tolist() == [0, 0, 0]


def test_the_rate_rises_then_falls_to_a_fiftieth() -> None:
    training = Training(steps=1000, warmup=100, lr=1.0)
    rates = [learning_rate(step, training) for step in range(1000)]
    assert rates[:3] == pytest.approx([0.01, 0.02, 0.03])
    assert rates[99] == rates[100] == 1.0
    assert rates[550] == pytest.approx(0.51)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[-1] == pytest.approx(0.02, abs=1e-4)


def test_a_row_of_the_log_has_the_mean_loss_of_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last row may cover fewer steps than the others."""

    def step(network: torch.nn.Module, *_: object) -> torch.Tensor:
        return 3 + 0 * sum(parameter.sum() for parameter in network.parameters())

    monkeypatch.setattr(pretrain, "_step", step)
    monkeypatch.setattr(pretrain, "batches", lambda _: itertools.repeat((None, None)))
    monkeypatch.setattr(pretrain, "day_miou", lambda *_: 0.0)
    monkeypatch.setattr(pretrain, "LOG_EVERY", 4)
    pretrain.train(Training(steps=6), tmp_path)
    record = json.loads((tmp_path / "train_log.json").read_text())
    assert [(row["step"], row["loss"]) for row in record["log"]] == [(4, 3.0), (6, 3.0)]


SHIPPED = {"default": Training(), "augmented": AUGMENTED}


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_shipped_weights_are_small_enough(name: str) -> None:
    folder = EMBEDDED[name].parent
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 10 * 10**6


@pytest.mark.parametrize(("name", "training"), SHIPPED.items())
def test_the_shipped_log_is_of_these_settings(name: str, training: Training) -> None:
    record = json.loads((EMBEDDED[name].parent / "train_log.json").read_text())
    assert record["settings"] == asdict(training)
    steps = [row["step"] for row in record["log"]]
    assert steps == sorted(set(steps))
    assert steps[-1] == training.steps


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_shipped_config_is_of_this_script(name: str) -> None:
    config = json.loads((EMBEDDED[name].parent / "config.json").read_text())
    expected = default_config(len(known_tokens())).to_dict()
    daylight = Daylight.from_dict(config.pop("daylight"))
    assert config == {"network": json.loads(json.dumps(expected)), "template": TEMPLATE}
    again = measured_daylight()
    np.testing.assert_allclose(daylight.mean, again.mean, atol=1)  # whole grey levels
    np.testing.assert_allclose(daylight.spread, again.spread, atol=1)


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_shipped_words_are_those_of_the_synonyms(name: str) -> None:
    known = load_base(name).known
    assert known is not None
    torch.testing.assert_close(known, known_tokens(), rtol=0, atol=0)


def test_a_run_goes_on_from_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of no length on from the default is the default."""
    monkeypatch.setattr(pretrain, "learning_rate", lambda *_: 0.0)
    monkeypatch.setattr(
        pretrain, "_step", lambda network, *_: 0 * sum(p.sum() for p in network.parameters())
    )
    monkeypatch.setattr(pretrain, "batches", lambda _: itertools.repeat((None, None)))
    monkeypatch.setattr(pretrain, "day_miou", lambda *_: 0.0)
    pretrain.train(Training(steps=1), tmp_path, EMBEDDED["default"])
    made = load_base(tmp_path / "weights.safetensors").network.state_dict()
    for name, value in load_base().network.state_dict().items():
        torch.testing.assert_close(made[name], value, rtol=0, atol=0)
