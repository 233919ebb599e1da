"""A one-off job, as the command line hands it to the process that does it.

`segment` writes what is seen on pictures or a film; `evaluate` compares it with labels. The words
may be others than those of the state folder; they are embedded once, by `acclimate.export.words`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from acclimate.configs.schema import Config
from acclimate.configs.vocabulary import (
    Vocabulary,
    load_served,
    parse_classes,
    without_concepts,
)
from acclimate.runtime.trust import distrust

WITH, WITHOUT = "with concepts", "without concepts"


@dataclass(frozen=True)
class Job:
    """What is wanted. `protocol`: served = the engine as it serves; whole and sliding = the
    network in torch, as CAT-Seg's authors evaluate it. Paths are strings, "" where not given;
    words are None there: none at all ("") is a mistake."""

    kind: Literal["segment", "evaluate"]
    adapter: str = "base"
    vocabulary: str | None = None
    classes: str | None = None
    concepts: Literal["with", "without", "both"] = "with"
    protocol: Literal["served", "whole", "sliding"] = "served"
    label_ids: Literal["index", "dataset"] = "index"
    source: str = ""
    out: str = ""
    confidence: bool = False
    images: str = ""
    labels: str = ""
    dataset: str = ""
    root: str = ""
    split: str = ""
    limit: int = 0
    json: bool = False

    def dumps(self) -> str:
        """One line for another process; see `read_job`."""
        return json.dumps(asdict(self))


def read_job(text: str) -> Job:
    """What `Job.dumps` wrote."""
    return Job(**json.loads(text))


def vocabularies(job: Job, config: Config) -> dict[str, Vocabulary]:
    """The words to see with, one or both of WITH and WITHOUT; raises ConfigError."""
    if job.classes is not None:
        words = parse_classes(job.classes)
    else:
        told = job.vocabulary
        words = load_served(config.model.vocabulary if told is None else told)
    both = {WITH: words, WITHOUT: without_concepts(words)}
    chosen = {"with": [WITH], "without": [WITHOUT], "both": [WITH, WITHOUT]}[job.concepts]
    return {name: both[name] for name in chosen}


@dataclass(frozen=True)
class Place:
    """Where an adapter with certain words lies: its engine, its bundle."""

    engine: Path
    bundle: Path
    ready: bool


def place_of(state: Path, adapter: str, words: Vocabulary) -> Place:
    """The adapter itself if these are its words, else its copy with these words.

    `ready` is False where that copy is missing, or was made from something else or by nobody whose
    signature counts.
    """
    return place_for(state, adapter, words.digest)


def place_for(state: Path, adapter: str, digest: str | None) -> Place:
    """`place_of` for the vocabulary of this digest; None = the one that bundles do not name."""
    own = manifest(state / "adapters" / adapter)
    if own is None or own.get("vocabulary_digest") == digest:
        return Place(state / "engine", state / "adapters" / adapter, True)
    folder = words_folder(state, digest)
    copy = manifest(folder / adapter) or {}
    wanted = {"made_from": origin(own), "vocabulary_digest": digest}
    engine = folder / "engine" if (folder / "engine").is_dir() else state / "engine"
    ready = all(copy.get(key) == value for key, value in wanted.items())
    ready = ready and distrust(folder / adapter / "manifest.json") is None
    return Place(engine, folder / adapter, ready)


def words_folder(state: Path, digest: str | None) -> Path:
    """Where copies of adapters with the words of this digest lie."""
    return state / "words" / str(digest)[:16]


def spared(state: Path) -> Path:
    """The `words_folder` of what serves, by what is on disk: it is never in the way."""
    try:
        words = json.loads((state / "state.json").read_text())["words"]
        return words_folder(state, words["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        base = manifest(state / "adapters" / "base") or {}
        return words_folder(state, base.get("vocabulary_digest"))


def origin(made: dict[str, Any]) -> str:
    """What tells a bundle's inputs and probe frames from all others: digests in its manifest."""
    files = made.get("files", {})
    return " ".join(str(files.get(f"{name}.safetensors")) for name in ("inputs", "probe"))


def manifest(folder: Path) -> dict[str, Any] | None:
    """A bundle's manifest, unverified; None if there is none, or one whose keys are of the wrong
    kind: nothing else that is told of adapters has to be ready for those."""
    try:
        made = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return made if isinstance(made, dict) and _is_sound(made) else None


def _is_sound(made: dict[str, Any]) -> bool:
    condition, sequence = made.get("condition") or {}, made.get("sequence", 0)
    told = [made.get(key) or {} for key in ("verdict", "card", "training", "buffer")]
    return (
        type(sequence) is int
        and 0 <= sequence < 2**62
        and type(made.get("created") or 0) in (int, float)
        and all(isinstance(one, dict) for one in (condition, made.get("files", {}), *told))
        and all(isinstance(digest, str) for digest in made.get("files", {}).values())
        and (not condition or is_condition(condition))
    )


def is_condition(told: object) -> bool:
    """Is it {"mean": numbers, "spread": a number}?"""
    if not isinstance(told, dict) or not isinstance(told.get("mean"), list):
        return False
    return all(
        type(x) in (int, float) and abs(x) < 1e15 for x in [*told["mean"], told.get("spread")]
    )
