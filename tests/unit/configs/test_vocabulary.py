"""Vocabularies: classes, their words, colours and label values."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from acclimate.configs.vocabulary import (
    NOT_COUNTED,
    PACKAGED,
    Vocabulary,
    load_served,
    load_vocabulary,
    parse_classes,
    parse_vocabulary,
    voc_color,
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


def test_the_world_is_wholly_mapped() -> None:
    lookup = load_vocabulary("world").from_source()
    assert lookup[:16].max() < 14
    assert (lookup[16:] == 255).all()


def test_an_unknown_vocabulary_names_the_packaged_ones() -> None:
    with pytest.raises(ConfigError, match=r"cityscapes.*world"):
        load_vocabulary("nowhere")


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
    assert parsed(ROAD, PERSON, SKY | {"source_ids": [9], "color": [1, 1, 1]}).digest == one
    assert parsed(ROAD, SKY, PERSON).digest != one
    assert parsed(ROAD | {"concepts": ["lane", "asphalt"]}, PERSON, SKY).digest != one
    moved = parsed(ROAD | {"concepts": ["asphalt"]}, PERSON | {"concepts": ["lane", "person"]}, SKY)
    assert moved.strings == parsed(ROAD, PERSON, SKY).strings
    assert moved.digest != one


@pytest.mark.parametrize("path", sorted(PACKAGED.glob("*.yaml")), ids=lambda path: path.stem)
def test_packaged_ones_load_by_name_and_by_path(path: Path) -> None:
    words = load_vocabulary(path.stem)
    assert words == load_vocabulary(str(path))
    np.testing.assert_array_equal(words.string_to_class().sum(1), 1)
    assert len({tuple(c) for c in words.palette.tolist()}) == len(words.classes)


def test_synonyms_make_one_string_and_concepts_several() -> None:
    rug = {"name": "rug", "synonyms": ["carpet", "mat"]}
    words = parsed(rug, {"name": "tree", "concepts": ["oak, elm", "fir"], "synonyms": ["trees"]})
    assert words.strings == ("rug, carpet, mat", "oak, elm", "fir")
    assert without_concepts(words).strings == ("rug, carpet, mat", "tree, trees")
    assert words.names == ("rug", "tree")


def test_the_digest_knows_synonyms_and_templates() -> None:
    one = parsed(ROAD, SKY)
    synonyms = parsed(ROAD | {"synonyms": ["street"]}, SKY)
    rows = {"classes": [ROAD, SKY]}
    plain = parse_vocabulary(rows | {"templates": ["a {}"]})
    other = parse_vocabulary(rows | {"templates": ["the {}"]})
    assert len({v.digest for v in (one, synonyms, plain, other)}) == 4
    noted = parse_vocabulary(rows | {"note": "mine", "ignore": [9]})
    assert (noted.digest, noted.note, noted.ignore) == (one.digest, "mine", (9,))


def test_the_digest_of_stored_adapters_stays_what_it_was() -> None:
    rows = [["road", ["asphalt", "lane"]], ["sky", ["sky"]]]
    assert parsed(ROAD, SKY).digest == hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def test_templates_are_as_many_as_the_models() -> None:
    plain = parsed(ROAD, SKY)
    own = parse_vocabulary({"classes": [ROAD, SKY], "templates": ["a dark {} at night"]})
    assert plain.templates_for(["a {}"]) == ("a {}",)
    assert own.templates_for(["a {}"]) == ("a dark {} at night",)
    with pytest.raises(ConfigError, match="has 1 templates, the model takes 10"):
        own.templates_for(["a {}"] * 10)


def test_labels_are_indices_unless_given() -> None:
    plain = parsed(ROAD, PERSON, SKY)
    assert (plain.labels.tolist(), plain.ignore) == ([0, 1, 2], (255,))
    own = parse_vocabulary({
        "classes": [ROAD | {"label": 7}, SKY | {"label": 400}], "ignore": [0, 255],
    })  # fmt: skip
    lookup = own.from_labels()
    assert lookup[[7, 400]].tolist() == [0, 1]
    assert (np.delete(lookup, [7, 400]) == NOT_COUNTED).all()
    assert own.labels[np.array([[1, 0]])].tolist() == [[400, 7]]
    assert own.unknown_labels(np.array([[0, 7, 9], [255, 3, 9]])) == (3, 9)


def test_a_class_may_be_label_255() -> None:
    words = parsed(*({"name": f"thing {i}"} for i in range(256)))
    assert (words.labels[255], words.from_labels()[255], words.ignore) == (255, 255, (NOT_COUNTED,))


def test_847_classes_are_a_vocabulary_but_not_served(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text("classes:\n" + "".join(f"- {{name: thing {i}}}\n" for i in range(847)))
    words = load_vocabulary(str(path))
    assert len({tuple(c) for c in words.palette.tolist()}) == 847
    assert words.string_to_class().shape == (847, 847)
    with pytest.raises(ConfigError, match=r"many\.yaml.* has 847 classes; .* at most 255"):
        load_served(str(path))
    assert load_served("world") == load_vocabulary("world")


def test_colours_follow_the_voc_map() -> None:
    published = [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128],
        [0, 128, 128], [128, 128, 128], [64, 0, 0], [192, 0, 0], [64, 128, 0], [192, 128, 0],
        [64, 0, 128], [192, 0, 128], [64, 128, 128], [192, 128, 128], [0, 64, 0], [128, 64, 0],
        [0, 192, 0], [128, 192, 0], [0, 64, 128],
    ]  # fmt: skip
    assert [list(voc_color(i)) for i in range(21)] == published
    assert voc_color(255) == (224, 224, 192)


def test_a_class_without_a_colour_gets_a_free_one() -> None:
    words = parsed({"name": "a"}, {"name": "b", "color": [128, 0, 0]}, {"name": "c"})
    assert words.palette.tolist() == [[0, 128, 0], [128, 0, 0], [128, 128, 0]]


def test_classes_from_the_shell() -> None:
    words = parse_classes(" road,puddle, forklift|lift truck ,green = tree | bush")
    assert words.names == ("road", "puddle", "forklift", "green")
    assert words.strings == ("road", "puddle", "forklift", "lift truck", "tree", "bush")
    assert words.labels.tolist() == [0, 1, 2, 3]
    assert len({tuple(c) for c in words.palette.tolist()}) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["2 classes or more"]), ("road", ["2 classes or more"]),
        ("road,,sky,", ["class 1: needs a name", "class 3: needs a name"]),
        ("=tree,sky", ["class 0: needs a name"]), ("a=,sky", ["(a): concepts must be"]),
        ("a||b,sky", ["(a): concepts must be"]), ("a=b=c,d==,e", ["'a=b=c'", "'d=='"]),
        ("Road,road", ["'road' is used 2 times"]),
        ("car|van,truck|van", ["'van' stands for 2 classes: car, truck"]),
    ],
)  # fmt: skip
def test_mistakes_on_the_shell_are_named(text: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_classes(text)
    assert len(caught.value.problems) == len(said)
    for problem, word in zip(caught.value.problems, said, strict=True):
        assert problem.startswith("--classes: ")
        assert word in problem


@pytest.mark.parametrize("content", [b"classes: [", b"\xff\xfe\x00", b"a: b: c"])
def test_what_is_not_yaml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"own\.yaml"):
        load_vocabulary(str(tmp_path / "own.yaml"))


# ---- written and read again


EVERYTHING = {
    "classes": [
        ROAD | {"label": 7, "synonyms": ["street"], "concepts": ["asphalt", "road, street"]},
        PERSON | {"label": 24},
        SKY | {"label": 255},
    ],
    "templates": ["a photo of a {}", "one {} more"],
    "ignore": [0, 65535],
    "note": "äöü: #1",
}


@pytest.mark.parametrize(
    "words",
    [
        parse_vocabulary(EVERYTHING),
        parse_classes("road,green=tree|bush"),
        *(load_vocabulary(path.stem) for path in sorted(PACKAGED.glob("*.yaml"))),
        *(without_concepts(load_vocabulary(name)) for name in ("cityscapes", "world")),
    ],
)
def test_what_is_written_is_read_again(words: Vocabulary) -> None:
    text = yaml.safe_dump(words.content, allow_unicode=True)
    again = parse_vocabulary(yaml.safe_load(text))
    assert again == words
    assert (again.key, again.digest) == (words.key, words.digest)


def test_a_key_tells_more_than_what_is_embedded() -> None:
    words = parsed(ROAD, PERSON)
    keys = {words.key}
    for change in ({"color": [1, 2, 3]}, {"safety": True}, {"source_ids": [9]}):
        other = parsed(ROAD | change, PERSON)
        assert other.digest == words.digest
        keys.add(other.key)
    assert len(keys) == 4
    assert parsed(PERSON, ROAD).key not in keys


def test_its_size_in_words() -> None:
    assert parsed(ROAD, PERSON, SKY).size == "3 classes (4 strings)"
