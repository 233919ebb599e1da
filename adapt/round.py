"""What one round is asked to do: `round.json`, written by the daemon."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from acclimate.configs.schema import Config, parse_config
from acclimate.errors import ConfigError


@dataclass(frozen=True)
class Round:
    """`parent_dir` is the accepted bundle; mode "validate" judges `adapter_dir` untrained.
    `good` are the folders of all good bundles, the base's among them, oldest first; `start` is
    the bundle whose adapter is trained on, None for the parent's."""

    id: str
    sequence: int
    parent_dir: Path
    engine_dir: Path
    buffer_dir: Path
    out_dir: Path
    config: Config
    seed: int = 0
    mode: Literal["train", "validate"] = "train"
    adapter_dir: Path | None = None
    good: tuple[Path, ...] = ()
    start: Path | None = None

    @property
    def learned_dir(self) -> Path:
        """Where a sound adapter goes that does not serve: the next round may start from it."""
        return self.out_dir.with_name(self.out_dir.name + "-learned")


def read_round(path: Path) -> Round:
    """Read round.json; raises ConfigError with every problem."""
    try:
        raw = json.loads(path.read_text())
        adapter, start = raw.get("adapter_dir"), raw.get("start")
        return Round(
            str(raw["id"]), int(raw["sequence"]), Path(raw["parent_dir"]),
            Path(raw["engine_dir"]), Path(raw["buffer_dir"]), Path(raw["out_dir"]),
            parse_config(raw["config"]), int(raw.get("seed", 0)), raw.get("mode", "train"),
            Path(adapter) if adapter else None, tuple(map(Path, raw.get("good", ()))),
            Path(start) if start else None,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError([f"cannot read round {path}: {error!r}"]) from error
