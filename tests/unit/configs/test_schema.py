"""The schema: every field checked, every problem told at once."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from acclimate.configs import schema
from acclimate.configs.schema import Config, load_config, parse_config, to_dict
from acclimate.errors import ConfigError

PACKAGED = sorted(Path(schema.__file__).parent.glob("*.yaml"))
NUMBERS = [
    (part, name)
    for part, values in to_dict(Config()).items()
    for name, value in values.items()
    if type(value) in (int, float)
]
NO_NUMBERS = [True, "1", None, [1], {}, -1, float("nan"), float("inf"), -float("inf")]


def problems(raw: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(raw)
    return caught.value.problems


def parsed(part: str, name: str, value: object) -> Any:
    return getattr(getattr(parse_config({part: {name: value}}), part), name)


def test_each_problem_is_one_line_and_none_hides_another() -> None:
    said = problems({
        "source": {"url": 3}, "serving": {"size": [160, "x"]}, "buffer": [], "gate": None,
        "adapt": {"lr": -1, "rank": 2.5}, "typo": 1,
    })  # fmt: skip
    assert sorted(line.split(":")[0].split(" ")[0] for line in said) == [
        "adapt.lr", "adapt.rank", "buffer", "gate", "serving.size[1]", "source.url", "typo",
    ]  # fmt: skip


@pytest.mark.parametrize(("part", "name"), NUMBERS)
def test_no_number_takes_anything_else(part: str, name: str) -> None:
    for value in NO_NUMBERS:
        (said,) = problems({part: {name: value}})
        assert said.startswith(f"{part}.{name}: ")


@pytest.mark.parametrize(("part", "name"), NUMBERS)
def test_shares_end_at_one(part: str, name: str) -> None:
    if name in schema._SHARES:
        assert parsed(part, name, 1) == 1
        assert "share" in problems({part: {name: 1.01}})[0]
    else:
        assert parsed(part, name, 2) == 2


def test_zero_is_allowed_where_it_means_something() -> None:
    assert parsed("daemon", "http_port", 0) == 0
    assert parsed("serving", "latest_hz", 0) == 0
    assert parsed("gate", "max_labelled_drop", 0) == 0
    for part, name in (("adapt", "batch"), ("buffer", "max_entries"), ("adapt", "deadline_s")):
        (said,) = problems({part: {name: 0}})
        assert said.endswith("must be greater than 0")


@pytest.mark.parametrize("value", ["cpu ", "CPU", "", None, 0, ["cpu"]])
def test_choices_are_taken_literally(value: object) -> None:
    (said,) = problems({"serving": {"engine": value}})
    assert said.startswith("serving.engine: ")
    assert said.endswith("onnxruntime-tensorrt, tensorrt, tensorrt-rtx")


@pytest.mark.parametrize(
    ("part", "name"),
    [("source", "url"), ("model", "weights"), ("model", "vocabulary"), ("gate", "labelled_dir")],
)
@pytest.mark.parametrize("text", ["", "  "])
def test_what_names_a_thing_is_not_empty(part: str, name: str, text: str) -> None:
    assert problems({part: {name: text}}) == (f"{part}.{name}: must not be empty",)


def test_no_host_means_every_address() -> None:
    assert parsed("daemon", "http_host", "") == ""


def test_a_bool_is_no_number() -> None:
    for value in (0, 1, "yes", None):
        assert problems({"adapt": {"enabled": value}})[0].startswith("adapt.enabled: expected bool")


def test_none_is_allowed_only_where_the_field_says_so() -> None:
    assert parsed("model", "weights", None) is None
    assert parsed("gate", "labelled_dir", "/srv/x") == "/srv/x"
    assert problems({"model": {"vocabulary": None}}) == (
        "model.vocabulary: expected str, not None",
    )


def test_whole_numbers_become_floats_and_lists_tuples() -> None:
    assert isinstance(parsed("adapt", "lr", 1), float)
    assert parsed("serving", "size", [96, 128]) == (96, 128)
    assert parsed("adapt", "hood", [[[0, 1], [0.5, 0.5], [1, 1]]]) == ((
        (0.0, 1.0), (0.5, 0.5), (1.0, 1.0),
    ),)  # fmt: skip


@pytest.mark.parametrize("size", [[160], [1, 2, 3], "160x224", 160, [160, -1], [160, 2.5]])
def test_a_size_is_two_whole_numbers(size: object) -> None:
    assert all(line.startswith("serving.size") for line in problems({"serving": {"size": size}}))


def test_unknown_keys_are_answered_with_the_known() -> None:
    (said,) = problems({"daemon": {"port": 1}})
    assert said.startswith("daemon.port: unknown key; known: hang_timeout_s, http_host,")
    assert problems({7: {}, "adapt": {True: 1}})


@pytest.mark.parametrize("raw", [None, [], "adapt", 3])
def test_the_whole_must_be_a_mapping(raw: object) -> None:
    assert "must be a mapping" in problems(raw)[0]


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_packaged_files_survive_json_and_yaml(path: Path) -> None:
    config = load_config(path)
    assert parse_config(json.loads(json.dumps(to_dict(config)))) == config
    text = yaml.safe_dump(json.loads(json.dumps(to_dict(config))))
    assert parse_config(yaml.safe_load(text)) == config


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    assert load_config(tmp_path / "empty.yaml") == parse_config({}) == Config()


def test_a_config_is_frozen() -> None:
    config = Config()
    with pytest.raises(FrozenInstanceError):
        config.adapt.steps = 3  # type: ignore[misc]
    assert replace(config).adapt is config.adapt


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\t- x", "a: !!python/name:os.system", "@"])
def test_what_is_not_yaml_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"odd\.yaml is not YAML"):
        load_config(path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "none.yaml", tmp_path / "bytes.yaml"):
        with pytest.raises(ConfigError, match=f"cannot read {path}"):
            load_config(path)


@pytest.mark.parametrize("text", ["source: {url: 2020-99-99}", "seed: 0x_"])
def test_scalars_yaml_cannot_build_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_config(tmp_path / "odd.yaml")


def test_a_number_beyond_the_floats_is_told() -> None:
    assert problems({"adapt": {"lr": 10**400}})


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("serving", "size", [0, 0]),
        ("adapt", "hood", [[[0, 0], [5, 7], [1, 1]]]),
        ("adapt", "hood", [[[0, 0], [1, 1]]]),
        ("daemon", "http_port", 65536),
    ],
)
def test_ranges_that_the_docs_promise(part: str, name: str, value: object) -> None:
    assert problems({part: {name: value}})[0].startswith(f"{part}.{name}")


def test_several_cameras_have_names_and_sources_of_their_own() -> None:
    hood = [[[0, 1], [0.5, 0.8], [1, 1]]]
    config = parse_config({
        "cameras": {"front": {"url": "0", "hood": hood}, "rear": {"policy": "every"}},
        "adapt": {"hood": [[[0, 0], [1, 0], [1, 0.1]]]},
    })  # fmt: skip
    assert {n: (one.url, one.policy) for n, one in config.sources.items()} == {
        "front": ("0", "auto"), "rear": ("world:", "every"),
    }  # fmt: skip
    front, rear, once_there = (config.hood_of(name) for name in ("front", "rear", "left"))
    assert rear == (((0.0, 0.0), (1.0, 0.0), (1.0, 0.1)),) == config.adapt.hood
    assert front == (*rear, ((0.0, 1.0), (0.5, 0.8), (1.0, 1.0))) == once_there
    assert parse_config(to_dict(config)) == config
    assert list(parse_config({}).sources) == ["camera"]


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ({"cameras": {"front/..": {}}}, "front/.."), ({"cameras": {1: {}}}, "1 is no name"),
        ({"cameras": ["0"]}, "mapping"), ({"cameras": {"a": {"urll": "0"}}}, "cameras.a.urll"),
        ({"cameras": {"a": {"hood": [[[0, 1], [1, 1]]]}}}, "cameras.a.hood[0]"),
        ({"cameras": {f"c{i}": {} for i in range(9)}}, "9 are given, 8 are the most"),
        ({"cameras": {"a": {}}, "source": {"url": "0"}}, "give one of them"),
    ],
)  # fmt: skip
def test_cameras_are_checked_one_by_one(raw: dict[str, Any], word: str) -> None:
    assert any(word in line for line in problems(raw))
