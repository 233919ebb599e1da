"""What the system looks for: classes, the strings that stand for them, colours, label values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.vocabulary_checks import problems_of
from acclimate.configs.yaml_text import parse_yaml
from acclimate.errors import ConfigError

PACKAGED = Path(__file__).parent / "vocabularies"
MOST_SERVED, MOST_STRINGS = 255, 4096
NOT_COUNTED = 65535
Color = tuple[int, int, int]


@dataclass(frozen=True)
class VocabularyClass:
    """One class. `concepts` are the strings served for it; `source_ids` its world labels.

    `label` is its value in the label maps of its data set. A string "a, b" is embedded as the mean
    of its synonyms; the strings of one class are told apart and their probabilities summed.
    """

    name: str
    concepts: tuple[str, ...]
    color: Color
    safety: bool = False
    source_ids: tuple[int, ...] = ()
    synonyms: tuple[str, ...] = ()
    label: int = 0

    @property
    def text(self) -> str:
        """Its own string, the one served without concepts: the name and its synonyms."""
        return ", ".join((self.name, *self.synonyms))


@dataclass(frozen=True)
class Vocabulary:
    """Classes in label order; `templates` () = the model's own, `ignore` = values not counted."""

    classes: tuple[VocabularyClass, ...]
    templates: tuple[str, ...] = ()
    ignore: tuple[int, ...] = (255,)
    note: str = ""

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
        """sha256 of names, synonyms and strings in order, and of the templates if it has any."""
        content: list[Any] = [[c.text, c.concepts] for c in self.classes]
        content += [self.templates] if self.templates else []
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def content(self) -> dict[str, Any]:
        """All of it as a vocabulary file says it; `parse_vocabulary` reads it back."""
        rows = [{**asdict(c), "concepts": list(c.concepts), "color": list(c.color),
                 "source_ids": list(c.source_ids), "synonyms": list(c.synonyms)}
                for c in self.classes]  # fmt: skip
        templates = {"templates": list(self.templates)} if self.templates else {}
        return {"classes": rows, **templates, "ignore": list(self.ignore), "note": self.note}

    @property
    def key(self) -> str:
        """What tells it from all others, by colours and label values too, unlike `digest`."""
        content = json.dumps(self.content, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def size(self) -> str:
        """ "14 classes (16 strings)", for people."""
        return f"{len(self.classes)} classes ({len(self.strings)} strings)"

    @property
    def labels(self) -> NDArray[np.uint16]:
        """The data set's value of each class (T,): indexed by a label map, it writes such PNGs."""
        return np.array([c.label for c in self.classes], np.uint16)

    def templates_for(self, model: Sequence[str]) -> tuple[str, ...]:
        """Its own templates or those of the model; ConfigError if the model takes another number.

        Each template is one channel of the cost volume, so their number belongs to the weights.
        """
        if self.templates and len(self.templates) != len(model):
            raise ConfigError([
                f"the vocabulary has {len(self.templates)} templates, the model takes {len(model)}"
            ])  # fmt: skip
        return self.templates or tuple(model)

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

    def from_labels(self) -> NDArray[np.uint16]:
        """Lookup (65536,) from the data set's values to class indices; NOT_COUNTED elsewhere."""
        table = np.full(65536, NOT_COUNTED, np.uint16)
        table[self.labels] = np.arange(len(self.classes))
        return table

    def unknown_labels(self, values: NDArray[Any], indices: bool = False) -> tuple[int, ...]:
        """Values of a label map that are neither a class's label (or index) nor ignored: another
        data set's?"""
        meant = range(len(self.classes)) if indices else self.labels
        return tuple(np.setdiff1d(values, [*meant, *self.ignore]).tolist())


def without_concepts(vocabulary: Vocabulary) -> Vocabulary:
    """The same classes, each served by its own name (and synonyms) alone."""
    plain = tuple(replace(c, concepts=(c.text,)) for c in vocabulary.classes)
    return replace(vocabulary, classes=plain)


def load_vocabulary(name_or_path: str) -> Vocabulary:
    """Read a packaged vocabulary by name, or a YAML file; raises ConfigError."""
    packaged = PACKAGED / f"{name_or_path}.yaml"
    path = packaged if packaged.is_file() else Path(name_or_path)
    try:
        raw = parse_yaml(path.read_text())
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in PACKAGED.glob("*.yaml")))
        raise ConfigError([f"vocabulary {name_or_path!r}: {error}; packaged: {known}"]) from error
    except ValueError as error:
        raise ConfigError([f"vocabulary {path} is not YAML: {error}"]) from error
    return parse_vocabulary(raw, str(path))


def load_served(name_or_path: str) -> Vocabulary:
    """`load_vocabulary` for the serving path, whose label maps are uint8; raises ConfigError."""
    vocabulary = load_vocabulary(name_or_path)
    check_served(vocabulary, f"vocabulary {name_or_path!r}")
    return vocabulary


def check_served(vocabulary: Vocabulary, where: str) -> None:
    """Raises ConfigError for more classes or strings than an engine serves."""
    for what, have, most in (
        ("classes", len(vocabulary.classes), MOST_SERVED),
        ("strings", len(vocabulary.strings), MOST_STRINGS),
    ):
        if have > most:
            raise ConfigError([
                f"{where} has {have} {what}; the daemon serves at most {most}: leave out those "
                "that your camera never sees"
            ])  # fmt: skip


def parse_vocabulary(raw: Any, where: str = "vocabulary") -> Vocabulary:
    """{classes: [{name, ...}], templates?, ignore?, note?} -> Vocabulary; raises ConfigError.

    Every problem is told at once (see `problems_of`). Classes without a colour get one that no
    other has; without labels, a class's label is its index.
    """
    if problems := problems_of(raw, where):
        raise ConfigError(problems)
    rows = raw["classes"]
    taken = {tuple(row["color"]) for row in rows if "color" in row}
    fresh = (c for c in map(voc_color, count(1)) if c not in taken)
    classes = tuple(_class(row, i, fresh) for i, row in enumerate(rows))
    void = NOT_COUNTED if any(c.label == 255 for c in classes) else 255
    ignore = tuple(raw.get("ignore", [void]))
    return Vocabulary(classes, tuple(raw.get("templates", ())), ignore, raw.get("note", ""))


def _class(row: dict[str, Any], index: int, fresh: Iterator[Color]) -> VocabularyClass:
    synonyms = tuple(row.get("synonyms", ()))
    return VocabularyClass(
        name=row["name"],
        concepts=tuple(row.get("concepts", [", ".join((row["name"], *synonyms))])),
        color=tuple(row["color"]) if "color" in row else next(fresh),
        safety=row.get("safety", False),
        source_ids=tuple(row.get("source_ids", ())),
        synonyms=synonyms,
        label=row.get("label", index),
    )


def parse_classes(text: str) -> Vocabulary:
    """Classes from the shell, between commas; raises ConfigError with every problem.

    `road` is a class; `car|van` is the class "car" with the concepts car and van; `green=tree|bush`
    is the class "green" with the concepts tree and bush.
    """
    items = text.split(",")
    if odd := [item for item in items if item.count("=") > 1]:
        raise ConfigError([f"--classes: {item.strip()!r} has more than one =" for item in odd])
    return parse_vocabulary({"classes": [_row(item) for item in items]}, "--classes")


def _row(item: str) -> dict[str, Any]:
    name, named, words = item.partition("=")
    concepts = [word.strip() for word in (words if named else item).split("|")]
    row: dict[str, Any] = {"name": name.strip() if named else concepts[0]}
    return row | {"concepts": concepts} if named or len(concepts) > 1 else row


def voc_color(index: int) -> Color:
    """Colour `index` of the PASCAL VOC colour map: its bits dealt to R, G and B, highest first."""
    red, green, blue = (
        sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))
        for channel in range(3)
    )
    return red, green, blue
