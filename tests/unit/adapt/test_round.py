"""What a round is asked to do, read from the daemon's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acclimate.adapt.round import read_round
from acclimate.configs.schema import parse_config, to_dict
from acclimate.errors import ConfigError

TASK = {"id": "a1", "sequence": 1, "parent_dir": "p", "engine_dir": "e", "buffer_dir": "b",
        "out_dir": "out/a1"}  # fmt: skip


def written(path: Path, **more: object) -> Path:
    path.write_text(json.dumps(TASK | more))
    return path


def test_each_camera_keeps_its_hood(tmp_path: Path) -> None:
    hood = [[[0, 1], [0.5, 0.8], [1, 1]]]
    config = parse_config({
        "cameras": {"front": {"hood": hood}, "rear": {"hood": hood}, "left": {}},
        "adapt": {"hood": hood},
    })  # fmt: skip
    task = read_round(written(tmp_path / "round.json", config=to_dict(config)))
    assert [len(task.config.hood_of(name)) for name in ("front", "left")] == [2, 1]
    assert task.learned_dir == Path("out/a1-learned")


@pytest.mark.parametrize("more", [{}, {"config": {"typo": 1}}, {"config": {}, "sequence": "one"}])
def test_what_is_wrong_is_told_with_the_file(tmp_path: Path, more: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        read_round(written(tmp_path / "round.json", **more))
