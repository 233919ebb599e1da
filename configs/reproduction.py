"""The paper's table as a recipe: data sets, settings and rows of `acclimate reproduce vocalign`.

Sources: P = the paper (arXiv 2509.15225, Table 2 with 10 templates, and Cityscapes' own result),
R = the released configurations (Sisso16/VocAlign @ 4f2ed57, configs/vocalign and
configs/_base_/datasets).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from acclimate.configs.adapt import AdaptConfig, preset
from acclimate.errors import ConfigError

Dataset = Literal["cityscapes", "pc59", "ade"]
Settings = Literal["paper", "generic", "released"]
DATASETS, SETTINGS = get_args(Dataset), get_args(Settings)


@dataclass(frozen=True)
class Row:
    """One line of the table. `keys` change the settings, None = nothing is learned; `concepts`:
    they are served too, the control that the paper lacks."""

    name: str
    title: str
    keys: dict[str, Any] | None = None
    concepts: bool = False


ROWS = (
    Row("zero-shot", "zero-shot"),
    Row("concepts", "zero-shot + concepts", concepts=True),
    Row("min-entropy", "min-entropy", {"strategy": "entropy"}),
    Row("teacher-student", "teacher-student", {"strategy": "teacher_student"}),
    Row("masking", "+ masking", {"strategy": "masking"}),
    Row("alignment", "+ vocabulary alignment", {"top_k": 0}),
    Row("top-k", "+ Top-K (full)", {}),
)


@dataclass(frozen=True)
class Recipe:
    """How a data set is learned from and scored.

    `dataset` and `vocabulary` by their names elsewhere here; `scale` (long, short) px: every
    picture is brought within it, in scoring without its aspect unless `keep_ratio`; `distort`: in
    training mirrored with 0.5 and its colours changed, for teacher and student alike.
    `published`: mIoU in percent by row (P).
    """

    dataset: str
    vocabulary: str
    train: str
    val: str
    scale: tuple[int, int]
    keep_ratio: bool = True
    distort: bool = False
    settings: AdaptConfig = field(default_factory=AdaptConfig)
    published: dict[str, float] = field(default_factory=dict)

    def settings_of(self, row: Row) -> AdaptConfig:
        """What the row learns with."""
        return replace(self.settings, **(row.keys or {}))


_PLACES: dict[Dataset, Recipe] = {
    "cityscapes": Recipe("cityscapes", "cityscapes", "train", "val", (2048, 1024)),
    "pc59": Recipe("pascal-context", "pascal-context59", "train", "val", (520, 520), False, True),
    "ade": Recipe("ade", "ade150", "training", "validation", (2048, 512), distort=True),
}
# P, "generic": one configuration for all three; K = 50 is all of Cityscapes' classes.
_GENERIC = {"lr": 3e-5, "steps": 15_000, "batch": 1, "mask_ratio": 0.5, "top_k": 50}
_RELEASED = _GENERIC | {"lr": 3e-6, "rank": 2, "alpha": 2.0, "warmup_steps": 500}
_KEYS: dict[tuple[Settings, Dataset], dict[str, Any]] = {
    ("paper", "cityscapes"): {},
    ("paper", "pc59"): _GENERIC,
    ("paper", "ade"): _GENERIC,
    ("generic", "cityscapes"): _GENERIC | {"batch": 2},
    ("generic", "pc59"): _GENERIC,
    ("generic", "ade"): _GENERIC,
    ("released", "cityscapes"): {"top_k": 19},
    ("released", "pc59"): _RELEASED | {"top_k": 35},
    ("released", "ade"): _RELEASED,
}
_TABLE: dict[Dataset, tuple[float, ...]] = {  # zero-shot, then min-entropy to Top-K
    "cityscapes": (47.56, 47.67, 44.58, 47.71, 49.58, 49.58),
    "pc59": (55.52, 55.87, 55.20, 55.89, 56.81, 57.01),
    "ade": (26.88, 27.23, 26.55, 26.84, 26.77, 27.39),
}


def recipe_for(dataset: Dataset, settings: Settings, **keys: Any) -> Recipe:
    """The recipe, with some keys of its AdaptConfig changed."""
    name: Literal["paper", "released"] = "released" if settings == "released" else "paper"
    chosen = preset(name, **_KEYS[settings, dataset] | keys)
    table = dict(zip([r.name for r in ROWS if not r.concepts], _TABLE[dataset], strict=True))
    if dataset == "cityscapes" and settings != "generic":
        table = {"zero-shot": 47.56, "top-k": 53.67}
    return replace(_PLACES[dataset], settings=chosen, published=table)


def rows_named(names: str) -> tuple[Row, ...]:
    """Some of ROWS, between commas, in their own order; raises ConfigError for another name."""
    wanted, known = set(names.split(",")), [row.name for row in ROWS]
    if odd := sorted(wanted - set(known)):
        raise ConfigError(
            [f"--rows: there is no {one!r}; known: {', '.join(known)}" for one in odd]
        )
    return tuple(row for row in ROWS if row.name in wanted)


@dataclass(frozen=True)
class Task:
    """What the command line asks for. `steps` and `limit` (pictures scored) 0 = all; `vocabulary`
    None = the packaged one; `rows` as `rows_named` takes them."""

    dataset: Dataset
    data: str
    weights: str
    out: str
    settings: Settings = "paper"
    rows: str = ",".join(row.name for row in ROWS)
    vocabulary: str | None = None
    steps: int = 0
    limit: int = 0
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 2

    def dumps(self) -> str:
        """One line for another process; see `read_task`."""
        return json.dumps(asdict(self))

    @property
    def recipe(self) -> Recipe:
        """Its recipe, on its device and for its number of steps."""
        keys: dict[str, Any] = {"device": self.device, "threads": self.threads, "seed": self.seed}
        return recipe_for(self.dataset, self.settings, **keys | self._shortened())

    def _shortened(self) -> dict[str, Any]:
        return {"steps": self.steps} if self.steps else {}


def read_task(text: str) -> Task:
    """What `Task.dumps` wrote."""
    return Task(**json.loads(text))
