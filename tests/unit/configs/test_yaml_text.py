"""YAML from strangers: values, or a reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from acclimate.configs.schema import load_config
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.configs.yaml_text import MOST_VALUES, parse_yaml
from acclimate.errors import ConfigError

BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_plain_values_are_read_aliases_too() -> None:
    assert parse_yaml("a: &x [1, 0xff, 2026-11-21]\nb: *x")["b"][:2] == [1, 255]
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((f"a: !!{tag}", "tag") for tag in ("timestamp x", "bool x", "int ''", "float ''")),
        (f"a: 0x{'f' * 9000}", "36000 bits"),
        (f"? 0x{'f' * 9000}\n: 1", "36000 bits"),
        (BOMB, f"more than {MOST_VALUES:,} values"),
        ("&a [*a]", "unfold"),
        ("[" * 500, "too deep"),
        ("a: [", "expected"),
        ("a: 2026-99-99", "month"),
    ],
)  # fmt: skip
def test_anything_else_says_why(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_yaml(text)
    (tmp_path / "a.yaml").write_text(text)
    for read in (load_config, lambda path: load_vocabulary(str(path))):
        with pytest.raises(ConfigError, match=r"is not YAML"):
            read(tmp_path / "a.yaml")
