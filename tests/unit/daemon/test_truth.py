"""What `state.json` says, value by value."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from acclimate.daemon.registry import Registry, State
from acclimate.daemon.truth import check
from acclimate.errors import CorruptBundle

SOUND = asdict(State()) | {
    "sequence": 3, "active": "a0001", "quarantined": {"a0002": "it went wrong"},
    "reference": {"mean": [0.0, 1], "spread": 0.5}, "pinned": "a0001",
    "words": {"key": "0" * 16, "digest": "f" * 64, "over": "1" * 16},
    "paused": {"since": 1.7e9, "seconds": None},
}  # fmt: skip


def test_what_is_written_can_be() -> None:
    check(asdict(State()))
    check(SOUND)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        *(("sequence", odd) for odd in ("1", 1.0, True, None, -1, 10**400)),
        *(("active", odd) for odd in (None, ["base"], "", "..", "../../secret", "a/b", "a" * 65)),
        ("previous", 1), ("candidate", []), ("pinned", "/etc"),
        *(("good", odd) for odd in (None, 5, "base", ["../x"], [["base"]], {"base": 1})),
        *(("quarantined", odd) for odd in (None, [], {"../x": "r"}, {"a1": 5})),
        *(("reference", odd) for odd in (5, {}, {"mean": 1, "spread": 1},
          {"mean": ["x"], "spread": 1}, {"mean": [float("nan")], "spread": 1},
          {"mean": [0.0], "spread": float("inf")})),
        *(("words", odd) for odd in (5, {"key": "k"}, {"key": "k", "digest": "../x", "over": "o"})),
        *(("paused", odd) for odd in (5, {"since": 1}, {"since": "x", "seconds": None},
          {"since": 10**400, "seconds": 1}, {"since": 1, "seconds": float("nan")})),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(tmp_path: Path, key: str, told: Any) -> None:
    with pytest.raises(ValueError, match=f"{key} cannot be"):
        check(SOUND | {key: told})
    (tmp_path / "state.json").write_text(json.dumps(SOUND | {key: told}))
    with pytest.raises(CorruptBundle, match=f"{key} cannot be.*fsck --repair"):
        Registry(tmp_path)
