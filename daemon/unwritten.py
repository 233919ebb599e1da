"""A state folder that cannot be written when the daemon starts: what it holds is served.

A disk that became read-only, is full or fails. Nothing is learned and nothing kept until it takes
writes again; events go to the journal alone.
"""

from __future__ import annotations

import atexit
import json
import tempfile
from pathlib import Path

from acclimate.configs.schema import Config, parse_config, to_dict
from acclimate.daemon.reload import changes
from acclimate.errors import ConfigError, ExportError

# What engine and base bundle were made for; the rest of a configuration may be another.
MADE_FOR = (
    "model.", "serving.size", "serving.batch", "serving.sliding", "serving.engine",
    "serving.precision", "serving.capacity", "adapt.blocks",
)  # fmt: skip


def as_prepared(config: Config, state: Path, refusal: OSError) -> Path:
    """Where `config` lies for who serves from `state`: in the folder if that was prepared with it,
    else in a file that goes with this process.

    Raises `refusal` where nothing was ever prepared, ExportError where it was for another engine.
    """
    path = state / "config.json"
    try:
        before = parse_config(json.loads(path.read_text()))
    except (OSError, ValueError, ConfigError):
        raise refusal from None
    changed = changes(before, config)
    if odd := [key for key in changed if key.startswith(MADE_FOR)]:
        raise ExportError(f"{refusal}, and {state} was prepared with another {', '.join(odd)}")
    return _beside(config) if changed else path


def _beside(config: Config) -> Path:
    with tempfile.NamedTemporaryFile(
        "w", prefix="acclimate-", suffix=".json", delete=False
    ) as file:
        json.dump(to_dict(config), file)
    path = Path(file.name)
    atexit.register(path.unlink, missing_ok=True)
    return path
