"""Configurations and vocabularies: every problem at once, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acclimate.configs import schema
from acclimate.configs.schema import Config, load_config, parse_config, to_dict
from acclimate.configs.vocabulary import (
    PACKAGED,
    load_vocabulary,
    parse_vocabulary,
    without_concepts,
)
from acclimate.errors import ConfigError

FOLDER = Path(schema.__file__).parent
RED: dict[str, Any] = {"name": "red", "color": [255, 0, 0]}
BLUE: dict[str, Any] = {"name": "blue", "color": [0, 0, 255]}


def problems(raw: object) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(raw)
    return "\n".join(caught.value.problems)


def test_the_defaults_survive_json() -> None:
    assert parse_config({}) == Config()
    assert parse_config(json.loads(json.dumps(to_dict(Config())))) == Config()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda p: p.stem)
def test_packaged_configurations_are_sound(path: Path) -> None:
    config = load_config(path)
    assert load_vocabulary(config.model.vocabulary).classes


def test_every_problem_is_told_at_once() -> None:
    said = problems({
        "adapt": {"steps": 0, "lr": "fast", "hood": [[[0, 0], [1]]], "enabled": 1},
        "gate": {"min_agreement": 1.5}, "serving": {"size": [160], "provider": "tpu"},
        "speed": 3, "daemon": {"http_prot": 1},
    })  # fmt: skip
    for word in ("adapt.steps", "adapt.lr", "adapt.hood[0][1]", "adapt.enabled",
                 "gate.min_agreement", "serving.size", "serving.provider", "speed: unknown",
                 "daemon.http_prot: unknown key; known: http_host"):  # fmt: skip
        assert word in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, True, None, "3", [3]])
def test_a_number_is_a_number(value: object) -> None:
    assert "adapt.deadline_s" in problems({"adapt": {"deadline_s": value}})


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    for content in (b"\xff\xfe\x00", b"a: [", b"- 1"):
        path.write_bytes(content)
        with pytest.raises(ConfigError):
            load_config(path)
    with pytest.raises(ConfigError, match="none"):
        load_config(tmp_path / "none.yaml")
    path.write_text("")
    assert load_config(path) == Config()


@pytest.mark.parametrize("path", sorted(PACKAGED.glob("*.yaml")), ids=lambda p: p.stem)
def test_packaged_vocabularies_are_sound(path: Path) -> None:
    words = load_vocabulary(path.stem)
    owner = words.string_to_class()
    assert owner.shape == (len(words.strings), len(words.classes))
    np.testing.assert_array_equal(owner.sum(1), 1)
    assert without_concepts(words).strings == words.names


def test_the_world_is_wholly_mapped() -> None:
    lookup = load_vocabulary("world").from_source()
    assert lookup[:16].max() < 14
    assert (lookup[16:] == 255).all()


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([RED], "2 classes or more"),
        ([RED, RED], "used 2 times"),
        ([RED | {"concepts": ["x"]}, BLUE | {"concepts": ["x"]}], "'x' stands for 2 classes"),
        ([RED, {"color": [0, 0, 0]}], "needs a name"),
        ([RED, BLUE | {"color": [0, 256, 0]}], "color"),
        ([RED, BLUE | {"concepts": []}], "concepts"),
        ([RED, BLUE | {"colour": 1}], "colour"),
    ],
)
def test_a_bad_vocabulary_is_explained(rows: list[Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        parse_vocabulary({"classes": rows})


def test_the_digest_follows_words_and_not_colours() -> None:
    one = parse_vocabulary({"classes": [RED, BLUE]})
    painted = parse_vocabulary({"classes": [RED | {"color": [1, 1, 1]}, BLUE]})
    renamed = parse_vocabulary({"classes": [RED | {"concepts": ["crimson"]}, BLUE]})
    assert one.digest == painted.digest != renamed.digest


def test_an_unknown_vocabulary_names_the_packaged_ones() -> None:
    with pytest.raises(ConfigError, match=r"cityscapes.*world"):
        load_vocabulary("nowhere")
