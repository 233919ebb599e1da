"""The words of a state folder: those of its configuration, or others set by hand over them.

Whatever serves lies whole in `vocabularies/<key>.yaml`, written once and never changed: editing the
file that it came from, or taking it away, changes nothing in a running daemon.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import yaml

from acclimate.configs.vocabulary import Vocabulary, load_served
from acclimate.daemon.processes import can_adapt, command, environment
from acclimate.daemon.registry import BASE, Registry
from acclimate.daemon.waiting import Meanwhile, nothing, wait_for
from acclimate.errors import ConfigError, SwapRefused
from acclimate.runtime.durable import write_atomic
from acclimate.runtime.job import Job

HEAD = "# Written by acclimate; `acclimate vocab set` changes what is served.\n"


def file_of(state: Path, key: str) -> Path:
    """Where the vocabulary of this key is kept."""
    return state / "vocabularies" / f"{key}.yaml"


def keep(state: Path, words: Vocabulary) -> Path:
    """Write them to their file, if they are not there; returns it. Raises OSError."""
    path = file_of(state, words.key)
    if read_kept(state, words.key) is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (HEAD + written(words)).encode())
    return path


def written(words: Vocabulary) -> str:
    """A vocabulary file's text."""
    return yaml.safe_dump(words.content, sort_keys=False, allow_unicode=True, width=100)


def read_kept(state: Path, key: str) -> Vocabulary | None:
    """The kept vocabulary of this key; None where it is gone or something else."""
    with contextlib.suppress(ConfigError):
        words = load_served(str(file_of(state, key)))
        return words if words.key == key else None
    return None


def sweep(state: Path, spared: Vocabulary) -> None:
    """Remove all kept vocabularies but this one, as far as the disk lets us: nobody serves them."""
    for path in (state / "vocabularies").glob("*"):
        if path != file_of(state, spared.key):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def by_hand(words: Vocabulary, configured: Vocabulary) -> dict[str, str] | None:
    """What the registry remembers of them; None for those of the configuration."""
    if words.key == configured.key:
        return None
    return {"key": words.key, "digest": words.digest, "over": configured.key}


def needed(registry: Registry) -> list[str]:
    """The adapters that may have to serve without a process with torch: what serves, the base, and
    what a rollback would return to."""
    return list(dict.fromkeys([registry.state.active, BASE, registry.way_back()]))


def missing(registry: Registry, names: Iterable[str], words: Vocabulary) -> list[str]:
    """Those of `names` that have not got these words yet."""
    return [name for name in names if not registry.place(name, words.digest).ready]


def check_engine(state: Path, words: Vocabulary) -> None:
    """Raises SwapRefused where the engine that serves takes fewer strings, or more."""
    try:
        least, most = json.loads((state / "engine" / "engine.json").read_text())["strings"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # the runtime says what it is
    if not least <= (count := len(words.strings)) <= most:
        raise SwapRefused(
            f"{count} strings need another engine than the one that serves, which takes {least} "
            f"to {most}: name the vocabulary in the configuration and restart with --config"
        )


def check_torch(state: Path, lacking: list[str]) -> None:
    """Raises SwapRefused where words have to be embedded and torch is not installed."""
    if lacking and not can_adapt():
        raise SwapRefused(
            f"these words are not embedded yet for {', '.join(lacking)}, which needs torch: "
            "pip install 'acclimate[adapt]', or set them where it is installed and copy "
            f"{state / 'words'} here"
        )


def embed(
    registry: Registry, words: Vocabulary, names: list[str], meanwhile: Meanwhile = nothing
) -> None:
    """Wait until kept words are embedded for these adapters; raises SwapRefused with the reason,
    and what `meanwhile` raises."""
    lacking = missing(registry, names, words)
    if not lacking:
        return
    check_torch(registry.folder, lacking)
    task = command("words", arguments(registry.folder, words, lacking))
    with tempfile.TemporaryFile() as out:
        code = wait_for(task, meanwhile, environment("words"), out)
        out.seek(0)
        said = out.read().decode(errors="replace").splitlines()
    if missing(registry, names, words):
        told = [json.loads(line) for line in said if line.startswith("{")]
        reasons = [str(one["message"]) for one in told if one["event"] == "error"]
        raise SwapRefused("\n".join(reasons) or f"the words process ended: {code}")


def arguments(state: Path, words: Vocabulary, names: list[str]) -> list[str]:
    """What the process `words` is told, to embed kept words for these adapters."""
    job = Job("segment", vocabulary=os.fspath(file_of(state, words.key)))
    where = ["--config", str(state / "config.json"), "--state", str(state)]
    return [*where, "--job", job.dumps(), "--to-serve", *names]
