"""Jobs: what is handed over, which words are meant, where they lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acclimate.configs.schema import Config, ModelConfig
from acclimate.configs.vocabulary import load_vocabulary, without_concepts
from acclimate.errors import ConfigError
from acclimate.runtime.job import (
    WITH,
    WITHOUT,
    Job,
    place_of,
    read_job,
    spared,
    vocabularies,
    words_folder,
)

CITY = Config(model=ModelConfig(vocabulary="cityscapes"))
WORDS = load_vocabulary("camvid")


def test_a_job_arrives_as_it_was_sent() -> None:
    job = Job("evaluate", concepts="both", classes='road,"lane line"', limit=3, json=True)
    assert read_job(job.dumps()) == job


def test_words_come_from_the_shell_a_file_or_the_configuration() -> None:
    assert vocabularies(Job("segment"), CITY)[WITH].names[0] == "road"
    assert vocabularies(Job("segment", vocabulary="camvid"), CITY)[WITH].names[0] == "sky"
    shell = vocabularies(Job("segment", classes="road, puddle,forklift"), CITY)[WITH]
    assert shell.names == ("road", "puddle", "forklift")
    with pytest.raises(ConfigError, match="nowhere"):
        vocabularies(Job("segment", vocabulary="nowhere"), CITY)
    with pytest.raises(ConfigError):
        vocabularies(Job("segment", classes="road,road"), CITY)


@pytest.mark.parametrize("words", [{"classes": ""}, {"classes": " "}, {"vocabulary": ""}])
def test_no_words_are_not_those_of_the_configuration(words: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"2 classes or more|vocabulary ''"):
        vocabularies(Job("segment", **words), CITY)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("concepts", "variants"), [("with", [WITH]), ("without", [WITHOUT]), ("both", [WITH, WITHOUT])]
)
def test_concepts_may_be_left_out_or_compared(concepts: str, variants: list[str]) -> None:
    found = vocabularies(Job("evaluate", vocabulary="camvid", concepts=concepts), CITY)  # type: ignore[arg-type]
    expected = {WITH: WORDS, WITHOUT: without_concepts(WORDS)}
    assert found == {name: expected[name] for name in variants}
    assert list(found) == variants


def write(folder: Path, **made: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(made))


def test_an_adapters_own_words_are_served_from_its_own_folder(tmp_path: Path) -> None:
    write(tmp_path / "adapters" / "a1", vocabulary_digest=WORDS.digest)
    place = place_of(tmp_path, "a1", WORDS)
    own = (tmp_path / "engine", tmp_path / "adapters" / "a1", True)
    assert (place.engine, place.bundle, place.ready) == own


def test_other_words_lie_beside_and_must_be_of_the_same_adapter(tmp_path: Path) -> None:
    files = {"inputs.safetensors": "abc", "probe.safetensors": "def"}
    write(tmp_path / "adapters" / "a1", vocabulary_digest="others", files=files)
    place = place_of(tmp_path, "a1", WORDS)
    assert not place.ready
    assert place.bundle.is_relative_to(tmp_path / "words")
    write(place.bundle, vocabulary_digest=WORDS.digest, made_from="abc def")
    assert place_of(tmp_path, "a1", WORDS).ready
    assert place_of(tmp_path, "a1", WORDS).engine == tmp_path / "engine"
    (place.bundle.parent / "engine").mkdir()
    assert place_of(tmp_path, "a1", WORDS).engine == place.bundle.parent / "engine"
    for changed in ({}, files | {"probe.safetensors": "of another size"}):
        write(tmp_path / "adapters" / "a1", vocabulary_digest="others", files=changed)
        assert not place_of(tmp_path, "a1", WORDS).ready


def test_the_words_that_serve_are_spared(tmp_path: Path) -> None:
    """Those set by hand; else the base's, for adapters that were made for others."""
    write(tmp_path / "adapters" / "base", vocabulary_digest=WORDS.digest)
    assert spared(tmp_path) == words_folder(tmp_path, WORDS.digest)
    for content in ("{", "[]", '{"words": null}', '{"words": {}}', "{}"):
        (tmp_path / "state.json").write_text(content)
        assert spared(tmp_path) == words_folder(tmp_path, WORDS.digest)
    (tmp_path / "state.json").write_text('{"words": {"digest": "0123456789abcdef0123"}}')
    assert spared(tmp_path) == tmp_path / "words" / "0123456789abcdef"
    assert spared(tmp_path / "nowhere").parent == tmp_path / "nowhere" / "words"
