"""Vocabularies: classes, their words and colours; every mistake explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acclimate.configs.vocabulary import (
    PACKAGED,
    Vocabulary,
    load_vocabulary,
    parse_vocabulary,
    without_concepts,
)
from acclimate.errors import ConfigError

ROAD: dict[str, Any] = {
    "name": "road", "concepts": ["asphalt", "lane"], "color": [128, 64, 128], "source_ids": [0, 3],
}  # fmt: skip
PERSON: dict[str, Any] = {"name": "person", "color": [220, 20, 60], "safety": True}
SKY: dict[str, Any] = {"name": "sky", "color": [70, 130, 180], "source_ids": [7]}


def parsed(*rows: Any) -> Vocabulary:
    return parse_vocabulary({"classes": list(rows)})


def problems(*rows: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parsed(*rows)
    return caught.value.problems


def test_every_class_has_its_words_colour_and_labels() -> None:
    words = parsed(ROAD, PERSON, SKY)
    assert words.names == ("road", "person", "sky")
    assert words.strings == ("asphalt", "lane", "person", "sky")
    assert words.palette.tolist() == [ROAD["color"], PERSON["color"], SKY["color"]]
    assert words.palette.dtype == np.uint8
    assert [c.safety for c in words.classes] == [False, True, False]


def test_strings_count_for_their_class() -> None:
    table = parsed(ROAD, PERSON, SKY).string_to_class()
    assert table.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert table.dtype == np.float32


def test_world_labels_are_looked_up() -> None:
    lookup = parsed(ROAD, PERSON, SKY).from_source()
    assert (lookup[[0, 3, 7]].tolist(), lookup.dtype) == ([0, 0, 2], np.uint8)
    assert (np.delete(lookup, [0, 3, 7]) == 255).all()


def test_without_concepts_a_class_is_its_name() -> None:
    words = parsed(ROAD, PERSON, SKY)
    plain = without_concepts(words)
    assert plain.strings == plain.names == words.names
    assert plain.digest != words.digest
    np.testing.assert_array_equal(plain.palette, words.palette)
    np.testing.assert_array_equal(plain.string_to_class(), np.eye(3))
    assert without_concepts(plain) == plain


def test_the_digest_knows_order_and_owner() -> None:
    one = parsed(ROAD, PERSON, SKY).digest
    assert len(one) == 64
    assert parsed(ROAD, PERSON, SKY | {"safety": True, "source_ids": [9]}).digest == one
    assert parsed(ROAD, SKY, PERSON).digest != one
    assert parsed(ROAD | {"concepts": ["lane", "asphalt"]}, PERSON, SKY).digest != one
    moved = parsed(ROAD | {"concepts": ["asphalt"]}, PERSON | {"concepts": ["lane", "person"]}, SKY)
    assert moved.strings == parsed(ROAD, PERSON, SKY).strings
    assert moved.digest != one


@pytest.mark.parametrize("path", sorted(PACKAGED.glob("*.yaml")), ids=lambda path: path.stem)
def test_packaged_ones_load_by_name_and_by_path(path: Path) -> None:
    words = load_vocabulary(path.stem)
    assert words == load_vocabulary(str(path))
    assert len({tuple(c) for c in words.palette.tolist()}) == len(words.classes)


WRONG_COLOURS = [
    None, [], [1, 2], [1, 2, 3, 4], [-1, 0, 0], [0, 0, 256], [True, 0, 0], "red", [1.0] * 3,
]  # fmt: skip


@pytest.mark.parametrize("color", WRONG_COLOURS)
def test_a_colour_is_three_bytes(color: object) -> None:
    (said,) = problems(ROAD, PERSON | {"color": color})
    assert said == "vocabulary: class 1 (person): color must be three numbers from 0 to 255"


@pytest.mark.parametrize("concepts", [None, [], "asphalt", [""], [" "], [3], {"a": 1}])
def test_concepts_are_words(concepts: object) -> None:
    (said,) = problems(ROAD | {"concepts": concepts}, PERSON)
    assert said == "vocabulary: class 0 (road): concepts must be a list of words"


@pytest.mark.parametrize(
    "row", [{"color": [1, 2, 3]}, {"name": " "}, {"name": 3}, None, "road", []]
)
def test_a_class_needs_a_name(row: object) -> None:
    assert problems(row, PERSON)[0] == "vocabulary: class 0: needs a name"


def test_repeated_names_and_words_are_counted() -> None:
    lane = SKY | {"concepts": ["lane", "cloud", "cloud"]}
    assert problems(ROAD, ROAD | {"concepts": ["street"]}, lane) == (
        "vocabulary: class name 'road' is used 2 times",
        "vocabulary: concept 'lane' is used 2 times",
        "vocabulary: concept 'cloud' is used 2 times",
    )


def test_all_rows_are_read_before_anything_is_said() -> None:
    said = problems({"name": "a"}, {"color": 1}, ROAD | {"concepts": [], "colour": 1})
    assert [line.split(": ")[1].split(" (")[0] for line in said] == [
        "class 0", "class 1", "class 2", "class 2",
    ]  # fmt: skip


@pytest.mark.parametrize("raw", [None, [], {}, {"classes": None}, {"classes": {"a": 1}}])
def test_the_whole_lists_classes(raw: object) -> None:
    with pytest.raises(ConfigError, match="2 to 255 classes"):
        parse_vocabulary(raw)


@pytest.mark.parametrize("content", [b"classes: [", b"\xff\xfe\x00", b"a: b: c"])
def test_what_is_not_yaml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"own\.yaml"):
        load_vocabulary(str(tmp_path / "own.yaml"))


@pytest.mark.parametrize(
    "change",
    [{"source_ids": 3}, {"source_ids": None}, {"source_ids": [300]}, {"source_ids": ["a"]},
     {"safety": "no"}, {1: 2, "z": 3}],
)  # fmt: skip
def test_odd_labels_and_keys_are_explained(change: dict[Any, Any]) -> None:
    assert problems(ROAD | change, PERSON)[0].startswith("vocabulary: class 0")
