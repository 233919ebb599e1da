"""The packaged vocabularies against the official lists they follow."""

from __future__ import annotations

import hashlib

import pytest
from open_clip.tokenizer import SimpleTokenizer

from acclimate.configs.vocabulary import PACKAGED, Vocabulary, load_vocabulary

TOKENIZER = SimpleTokenizer()
OFFICIAL_TEMPLATE = "A photo of a {} in the scene"
PACKS = {
    "cityscapes": 19, "ade150": 150, "pascal-context59": 59, "coco-stuff171": 171, "camvid": 11,
    "world": 14, "world-source": 16,
}  # fmt: skip
# sha256 of the names, a line each: datasets/{ade150,pc59,coco}.json, KU-CVLAB/CAT-Seg @ 6d3a188
OFFICIAL = {
    "ade150": "f9dbd8a75a0722c971d8c82db76dc205e06cb422d98153f4e5bbf90408ef5438",
    "pascal-context59": "1c0546d54360b6030db946e7e75f14a0778f37edebd0051b8834027f8b5aab89",
    "coco-stuff171": "8ea44449837dceb30923012b201fe0152adc612160d0d040c9cfcd77e95f6801",
}


def by_label(words: Vocabulary) -> dict[int, str]:
    return dict(zip(words.labels.tolist(), words.names, strict=True))


def test_every_pack_is_listed() -> None:
    assert {path.stem for path in PACKAGED.glob("*.yaml")} == set(PACKS)


@pytest.mark.parametrize(("name", "count"), PACKS.items())
def test_counts_labels_and_colours(name: str, count: int) -> None:
    words = load_vocabulary(name)
    assert len(words.classes) == len(by_label(words)) == count
    assert len({tuple(c) for c in words.palette.tolist()}) == count
    assert len(set(words.strings)) == len(words.strings) <= 256


@pytest.mark.parametrize(("name", "sha256"), OFFICIAL.items())
def test_names_are_the_official_ones_in_order(name: str, sha256: str) -> None:
    names = "\n".join(load_vocabulary(name).names)
    assert hashlib.sha256(names.encode()).hexdigest() == sha256


@pytest.mark.parametrize("name", PACKS)
def test_every_string_fits_clip_with_the_official_template(name: str) -> None:
    words = load_vocabulary(name)
    texts = {OFFICIAL_TEMPLATE.format(s) for s in (*words.strings, *words.names)}
    assert max(2 + len(TOKENIZER.encode(text)) for text in texts) <= 77


def test_cityscapes_ids_and_the_published_concepts() -> None:
    words = load_vocabulary("cityscapes")
    assert by_label(words) == {
        7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole",
        19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky",
        24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
        32: "motorcycle", 33: "bicycle",
    }  # fmt: skip
    assert {*words.ignore, *words.labels.tolist()} == {*range(34), 255}
    assert words.strings == (
        "road", "sidewalk", "building", "house",
        "individual standing wall which is not part of a building", "fence", "hole in fence",
        "pole", "metal", "railing", "sign pole", "traffic light", "light", "traffic sign",
        "street sign", "parking sign", "direction sign", "vegetation", "tree", "terrain", "grass",
        "soil", "sand", "sky", "person", "pedestrian", "rider", "driver", "passenger", "car", "van",
        "truck", "truck trailer", "bus", "train", "tram", "motorcycle", "scooter", "bicycle",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "ignored", "some"),
    [
        ("ade150", 0, {1: "wall", 7: "road", 13: "person", 21: "car", 137: "traffic light",
                       150: "flag"}),
        ("pascal-context59", 0, {1: "aeroplane", 14: "car", 37: "person", 50: "diningtable",
                                 59: "wood"}),
        ("coco-stuff171", 255, {0: "person", 12: "stop sign", 89: "toothbrush", 91: "banner",
                                148: "road", 181: "wood"}),
        ("camvid", 11, {0: "sky", 3: "road", 8: "car", 10: "bicyclist"}),
    ],
)  # fmt: skip
def test_label_maps_are_read_as_published(name: str, ignored: int, some: dict[int, str]) -> None:
    words = load_vocabulary(name)
    found = by_label(words)
    assert {value: found[value] for value in some} == some
    assert words.ignore == (ignored,)


@pytest.mark.parametrize("name", ["ade150", "pascal-context59"])
def test_concepts_of_ours_are_said_to_be_ours(name: str) -> None:
    words = load_vocabulary(name)
    assert "Concepts: ours." in words.note
    assert all(1 <= len(c.concepts) <= 6 for c in words.classes)
    assert len(words.strings) > len(words.classes)
