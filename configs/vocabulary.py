"""What the system looks for: classes, the strings that stand for them, colours."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from acclimate.errors import ConfigError

PACKAGED = Path(__file__).parent / "vocabularies"
_KEYS = {"name", "concepts", "color", "safety", "source_ids"}


@dataclass(frozen=True)
class VocabularyClass:
    """One class. `concepts` are the strings served for it; `source_ids` its world labels."""

    name: str
    concepts: tuple[str, ...]
    color: tuple[int, int, int]
    safety: bool = False
    source_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """Classes in label order."""

    classes: tuple[VocabularyClass, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(c.name for c in self.classes)

    @property
    def strings(self) -> tuple[str, ...]:
        """Every served string, class after class."""
        return tuple(s for c in self.classes for s in c.concepts)

    @property
    def palette(self) -> NDArray[np.uint8]:
        """RGB colours (T, 3)."""
        return np.array([c.color for c in self.classes], np.uint8)

    @property
    def digest(self) -> str:
        """sha256 of names and strings in order."""
        content = json.dumps([[c.name, c.concepts] for c in self.classes])
        return hashlib.sha256(content.encode()).hexdigest()

    def string_to_class(self) -> NDArray[np.float32]:
        """One-hot (S, T): which class each string counts for."""
        owners = [i for i, c in enumerate(self.classes) for _ in c.concepts]
        return np.eye(len(self.classes), dtype=np.float32)[owners]

    def from_source(self) -> NDArray[np.uint8]:
        """Lookup (256,) from the world's labels to ours; 255 where no class claims one."""
        table = np.full(256, 255, np.uint8)
        for i, c in enumerate(self.classes):
            table[list(c.source_ids)] = i
        return table


def without_concepts(vocabulary: Vocabulary) -> Vocabulary:
    """The same classes, each served by its own name alone."""
    return Vocabulary(tuple(replace(c, concepts=(c.name,)) for c in vocabulary.classes))


def load_vocabulary(name_or_path: str) -> Vocabulary:
    """Read a packaged vocabulary by name, or a YAML file; raises ConfigError."""
    packaged = PACKAGED / f"{name_or_path}.yaml"
    path = packaged if packaged.is_file() else Path(name_or_path)
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in PACKAGED.glob("*.yaml")))
        raise ConfigError([f"vocabulary {name_or_path!r}: {error}; packaged: {known}"]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([f"vocabulary {path} is not YAML: {error}"]) from error
    return parse_vocabulary(raw, str(path))


def parse_vocabulary(raw: object, where: str = "vocabulary") -> Vocabulary:
    """{classes: [{name, concepts?, color, safety?}]} -> Vocabulary; raises ConfigError."""
    rows = raw.get("classes") if isinstance(raw, dict) else None
    if not isinstance(rows, list) or not 2 <= len(rows) <= 255:
        raise ConfigError([f"{where}: `classes` must list 2 to 255 classes"])
    problems: list[str] = []
    classes = [_read_class(row, f"{where}: class {i}", problems) for i, row in enumerate(rows)]
    if not problems:
        problems += _repeated([c.name for c in classes], f"{where}: class name")
        problems += _repeated([s for c in classes for s in c.concepts], f"{where}: concept")
    if problems:
        raise ConfigError(problems)
    return Vocabulary(tuple(classes))


def _read_class(row: Any, where: str, problems: list[str]) -> VocabularyClass:
    blank = VocabularyClass("", (), (0, 0, 0))
    if not isinstance(row, dict) or not isinstance(row.get("name"), str) or not row["name"].strip():
        problems.append(f"{where}: needs a name")
        return blank
    if unknown := sorted(map(str, row.keys() - _KEYS)):
        problems.append(f"{where}: unknown keys {unknown}; known: {sorted(_KEYS)}")
    concepts, color = row.get("concepts", [row["name"]]), row.get("color")
    if not (isinstance(concepts, list) and concepts and all(_is_text(c) for c in concepts)):
        problems.append(f"{where} ({row['name']}): concepts must be a list of words")
    if not (isinstance(color, list) and len(color) == 3 and all(_is_byte(c) for c in color)):
        problems.append(f"{where} ({row['name']}): color must be three numbers from 0 to 255")
    ids = row.get("source_ids", [])
    if not (isinstance(ids, list) and all(_is_byte(i) for i in ids)):
        problems.append(f"{where} ({row['name']}): source_ids must be numbers from 0 to 255")
    if not isinstance(row.get("safety", False), bool):
        problems.append(f"{where} ({row['name']}): safety must be true or false")
    if problems or not color:
        return blank
    return VocabularyClass(
        row["name"], tuple(concepts), tuple(color), row.get("safety", False), tuple(ids)
    )


def _repeated(words: list[str], what: str) -> list[str]:
    return [f"{what} {w!r} is used {n} times" for w, n in Counter(words).items() if n > 1]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
