"""Mistakes in vocabulary files: each is named, all at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from acclimate.configs.vocabulary import parse_vocabulary
from acclimate.configs.vocabulary_checks import _least_tokens
from acclimate.errors import ConfigError

ROAD: dict[str, Any] = {
    "name": "road", "concepts": ["asphalt", "lane"], "color": [128, 64, 128], "source_ids": [0, 3],
}  # fmt: skip
PERSON: dict[str, Any] = {"name": "person", "color": [220, 20, 60], "safety": True}
SKY: dict[str, Any] = {"name": "sky", "color": [70, 130, 180], "source_ids": [7]}
TOKENIZER = SimpleTokenizer()


def problems(*rows: Any, **top: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_vocabulary({"classes": list(rows), **top})
    return caught.value.problems


@pytest.mark.parametrize(
    "color",
    [None, [], [1, 2], [1, 2, 3, 4], [-1, 0, 0], [0, 0, 256], [True, 0, 0], "red", [1.0] * 3],
)
def test_a_colour_is_three_bytes(color: object) -> None:
    (said,) = problems(ROAD, PERSON | {"color": color})
    assert said == "vocabulary: class 1 (person): color must be three numbers from 0 to 255"


@pytest.mark.parametrize("words", [None, "asphalt", [""], [" "], [3], {"a": 1}, ["a,b"], ["a, "]])
@pytest.mark.parametrize("key", ["concepts", "synonyms"])
def test_concepts_and_synonyms_are_words(key: str, words: object) -> None:
    (said,) = problems(ROAD | {key: words}, PERSON)
    assert said.startswith(f"vocabulary: class 0 (road): {key} must be a list of words without")


def test_a_class_cannot_have_no_concepts() -> None:
    (said,) = problems(ROAD | {"concepts": []}, PERSON)
    assert "concepts must be a list of words" in said


@pytest.mark.parametrize("row", [{"color": [1, 2, 3]}, {"name": " "}, None, "road", []])
def test_a_class_needs_a_name(row: object) -> None:
    assert problems(row, PERSON) == ("vocabulary: class 0: needs a name",)


@pytest.mark.parametrize("name", [3, False, ["road"]])
def test_names_that_yaml_reads_as_something_else(name: object) -> None:
    assert problems({"name": name}, PERSON) == (
        f"vocabulary: class 0: name {name!r} is no text; quote it",
    )


def test_repeated_names_and_strings_are_counted() -> None:
    lane = SKY | {"concepts": ["Lane", "cloud", "cloud"]}
    assert problems(ROAD, {"name": "road "}, lane) == (
        "vocabulary: class name 'road' is used 2 times",
        "vocabulary: class 2 (sky): 'cloud' is listed 2 times",
        "vocabulary: 'lane' stands for 2 classes: road, sky",
    )


def test_a_concept_is_no_other_classs_name() -> None:
    terrain = {"name": "terrain", "concepts": ["grass", "sky"]}
    assert problems(terrain, SKY | {"concepts": ["clouds"]}) == (
        "vocabulary: 'sky' stands for 2 classes: terrain, sky",
    )


def test_averaged_synonyms_may_be_shared_as_in_ade_847() -> None:
    rows = [
        {"name": "stool"}, {"name": "toilet, can, stool"}, {"name": "can", "synonyms": ["tin"]},
    ]  # fmt: skip
    strings = parse_vocabulary({"classes": rows}).strings
    assert strings == ("stool", "toilet, can, stool", "can, tin")
    assert problems(*rows, {"name": "x", "concepts": ["can,  tin"]}) == (
        "vocabulary: 'can, tin' stands for 2 classes: can, x",
    )


def test_all_rows_are_read_before_anything_is_said() -> None:
    wrong = ROAD | {"concepts": [], "colour": 1}
    said = problems({"name": 1}, {"color": 1}, wrong, SKY, ignore="255", template="a {}")
    starts = ["unknown keys ['template']", "ignore", *["class"] * 4]
    assert len(said) == len(starts)
    for line, start in zip(said, starts, strict=True):
        assert line.startswith(f"vocabulary: {start}")


@pytest.mark.parametrize("raw", [None, [], {}, {"classes": None}, {"classes": {"a": 1}}])
def test_the_whole_lists_classes(raw: object) -> None:
    with pytest.raises(ConfigError, match="2 classes or more"):
        parse_vocabulary(raw)


@pytest.mark.parametrize(
    "change",
    [{"source_ids": 3}, {"source_ids": None}, {"source_ids": [300]}, {"source_ids": ["a"]},
     {"safety": "no"}, {1: 2, "z": 3}, {"label": -1}, {"label": 65536}, {"label": True},
     {"label": "7"}, {"label": None}],
)  # fmt: skip
def test_odd_labels_and_keys_are_explained(change: dict[Any, Any]) -> None:
    (said,) = problems(ROAD | change, PERSON)
    assert said.startswith("vocabulary: class 0 (road): ")


@pytest.mark.parametrize(
    "template", ["a photo", "{} and {}", "{0}", "{name} {}", "a {{}}", "", 3, None]
)
def test_a_template_has_one_place_for_the_class(template: object) -> None:
    (said,) = problems(ROAD, SKY, templates=["a photo of a {}", template])
    assert (
        said == f"vocabulary: template {template!r} must be a sentence with one {{}} for the class"
    )


@pytest.mark.parametrize("templates", [None, [], "a {}", {"a": 1}])
def test_templates_are_a_list(templates: object) -> None:
    assert problems(ROAD, SKY, templates=templates) == (
        "vocabulary: templates must be a list of sentences",
    )


@pytest.mark.parametrize("ignore", [None, 255, ["a"], [-1], [65536], [True]])
def test_ignored_values_are_numbers(ignore: object) -> None:
    (said,) = problems(ROAD, SKY, ignore=ignore, note=None)[:1]
    assert said == "vocabulary: ignore must list whole numbers from 0 to 65535"


def test_labels_are_the_classes_own() -> None:
    assert problems(ROAD | {"label": 7}, SKY | {"label": 7}, PERSON, ignore=[0, 7]) == (
        "vocabulary: all classes have a label or none; 'person' has none",
        "vocabulary: label 7 is given to 2 classes",
        "vocabulary: label 7 is a class's and ignored",
    )
    assert problems(ROAD, SKY, ignore=[1]) == ("vocabulary: label 1 is a class's and ignored",)
    assert problems(ROAD, SKY | {"source_ids": [3]}) == (
        "vocabulary: source id 3 is given 2 times",
    )


def test_what_is_too_long_for_clip_is_named() -> None:
    wordy = {"name": "wall", "concepts": ["bare " * 69 + "wall", "bare " * 76 + "wall"]}
    (said,) = problems(wordy, SKY, templates=["a {}"])
    assert said.startswith("vocabulary: class 0 (wall): 'bare bare")
    assert said.endswith("is longer than CLIP's 77 tokens: use fewer words")
    two = problems(wordy, SKY, templates=["one two three four five six {}"])
    assert len(two) == 2


@given(st.text(max_size=60), st.sampled_from(["{}", "a photo of a {}.", "a {} in the scene"]))
def test_the_bound_on_lengths_never_gives_a_false_alarm(word: str, template: str) -> None:
    assert _least_tokens(template, word) <= 2 + len(TOKENIZER.encode(template.replace("{}", word)))
