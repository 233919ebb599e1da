"""The whole configuration: typed, frozen, read once; every problem is reported together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, get_origin, get_type_hints, runtime_checkable

from acclimate.configs import adapt
from acclimate.configs.adapt import AdaptConfig as AdaptConfig
from acclimate.configs.adapt import Point
from acclimate.configs.control import ControlConfig
from acclimate.configs.drift import DriftConfig
from acclimate.configs.gate import GateConfig
from acclimate.configs.outputs import OutputsConfig
from acclimate.configs.serving import ServingConfig
from acclimate.configs.source import SourceConfig
from acclimate.configs.trust import TrustConfig
from acclimate.configs.yaml_text import parse_yaml
from acclimate.errors import ConfigError


@runtime_checkable
class Checked(Protocol):
    """A part whose keys must fit together."""

    def problems(self) -> list[str]:
        """What is wrong with it as a whole."""


@dataclass(frozen=True)
class ModelConfig:
    """Base weights and vocabulary (packaged name or file).

    `weights`: a file, a published name, "default" (as None) or "augmented": the embedded base, or
    the same trained on with strong photometric augmentation. `source_dir`: some of what it was
    trained on, images/ and labels/ (index PNGs), 18 at least, to judge by and to replay in the
    stream's light; the embedded bases draw their own.
    """

    weights: str | None = None
    vocabulary: str = "world"
    source_dir: str | None = None


@dataclass(frozen=True)
class BufferConfig:
    """Bounds of the frame buffer; `novelty` is a cosine distance of embeddings.

    Frames older than `max_age_hours` go, those that bundles keep for later gates too (0 = none by
    age). With `key_file` (see `acclimate keys new --buffer`) frames in the buffer are encrypted.
    """

    max_entries: int = 256
    max_mb: float = 64.0
    novelty: float = 0.0005
    heldout_share: float = 0.2
    max_age_hours: float = 0.0
    key_file: str | None = None


@dataclass(frozen=True)
class ShadowConfig:
    """Live frames that an accepted candidate sees beside what serves, before it serves itself.

    `frames` to compare, 0 = off; in at most the share `duty` of the time, until `max_ms` of
    computing are spent or `deadline_s` have passed; what was seen by then is judged if it is
    `min_frames`. Bounds: the share of pixels that get another label, the change of a class's share.
    """

    frames: int = 0
    duty: float = 0.25
    max_ms: float = 20000.0
    deadline_s: float = 90.0
    min_frames: int = 8
    max_disagreement: float = 0.3
    max_share_jump: float = 0.15

    @property
    def on(self) -> bool:
        """Is there a window at all?"""
        return self.frames > 0 and self.duty > 0


@dataclass(frozen=True)
class ProbationConfig:
    """What is watched, label-free, after a swap; lengths in frames."""

    frames: int = 60
    before_frames: int = 60
    min_frames: int = 10
    max_histogram_js: float = 0.15
    max_confidence_drop: float = 0.15


@dataclass(frozen=True)
class DaemonConfig:
    """HTTP address (port 0 = any free one), stop deadline, restart budget, and how long a serving
    process may say nothing before it counts as hung: longer than its slowest frame ever takes."""

    http_host: str = "127.0.0.1"
    http_port: int = 9109
    stop_timeout_s: float = 10.0
    max_restarts: int = 5
    restart_window_s: float = 60.0
    hang_timeout_s: float = 30.0


@dataclass(frozen=True)
class Config:
    """Everything, given out in slices. `cameras`: several sources by name, instead of `source`."""

    source: SourceConfig = field(default_factory=SourceConfig)
    cameras: Mapping[str, SourceConfig] = field(default_factory=dict)
    model: ModelConfig = field(default_factory=ModelConfig)
    serving: ServingConfig = field(default_factory=ServingConfig)
    outputs: OutputsConfig = field(default_factory=OutputsConfig)
    buffer: BufferConfig = field(default_factory=BufferConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    shadow: ShadowConfig = field(default_factory=ShadowConfig)
    probation: ProbationConfig = field(default_factory=ProbationConfig)
    daemon: DaemonConfig = field(default_factory=DaemonConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)

    def problems(self) -> list[str]:
        """What is wrong with it as a whole."""
        both = bool(self.cameras) and self.source != SourceConfig()
        return ["source and cameras: give one of them"] * both

    @property
    def sources(self) -> dict[str, SourceConfig]:
        """Every source by its name, one or several."""
        return dict(self.cameras) or {"camera": self.source}

    def hood_of(self, camera: str) -> tuple[tuple[Point, ...], ...]:
        """Polygons that nothing is learned from on frames of a camera; of one that is not known by
        its name (any more), those of all cameras: better too little is learned than a bonnet."""
        sources = self.sources
        own = [sources[camera]] if camera in sources else sources.values()
        return self.adapt.hood + tuple(polygon for one in own for polygon in one.hood)


_SHARES = adapt.SHARES | {
    "heldout_share", "min_pseudo_miou", "min_agreement", "max_histogram_js", "max_jump_js",
    "min_class_recall", "max_confidence_drop", "recall_ratio", "confidence",
    "duty", "max_disagreement", "max_share_jump", "release",
}  # fmt: skip
_MAY_BE_ZERO = adapt.MAY_BE_ZERO | {
    "http_port", "tcp_port", "latest_hz", "novelty", "max_labelled_drop", "max_safety_drop",
    "margin", "margin_learned", "margin_dressed", "max_duel_loss", "max_dressed_loss",
    "recall", "memory_frames", "max_memory_drop", "max_source_drop", "shadow.frames",
    "entropy_weight", "histogram_weight", "rounds_per_hour", "min_change", "min_light",
    "min_contrast", "max_age_hours", "outputs.hz", "latency_seconds",
}  # fmt: skip
_MAY_BE_EMPTY = {"http_host"}  # every address of the machine
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,31}")  # of a file, and of a label in /metrics
MOST_NAMES = 8


def load_config(path: Path) -> Config:
    """Read a YAML file; raises ConfigError with every problem in it."""
    try:
        raw = parse_yaml(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"cannot read {path}: {error}"]) from error
    except ValueError as error:
        raise ConfigError([f"{path} is not YAML: {error}"]) from error
    return parse_config(raw if raw is not None else {})


def parse_config(raw: object) -> Config:
    """A mapping (YAML or JSON) -> Config; raises ConfigError with every problem in it."""
    problems: list[str] = []
    config = _read(Config, raw, "", problems)
    if problems:
        raise ConfigError(problems)
    assert isinstance(config, Config)
    return config


def to_dict(config: Config) -> dict[str, Any]:
    """JSON-ready form, read back by `parse_config`."""
    return asdict(config)


def _read(kind: type, raw: object, path: str, problems: list[str]) -> object:
    if not isinstance(raw, Mapping):
        problems.append(f"{path or 'the configuration'} must be a mapping, not {raw!r}")
        return None
    hints, before = get_type_hints(kind), len(problems)
    for key in raw.keys() - hints.keys():
        problems.append(f"{_join(path, str(key))}: unknown key; known: {', '.join(sorted(hints))}")
    raw = adapt.with_preset(raw) if kind is AdaptConfig else raw
    values = {}
    for item in fields(kind):
        if item.name in raw:
            where = _join(path, item.name)
            values[item.name] = _value(hints[item.name], raw[item.name], where, problems)
    if len(problems) > before:
        return None
    made = kind(**values)
    if isinstance(made, Checked):
        problems += [_join(path, problem) for problem in made.problems()]
    return made


def _value(kind: Any, raw: object, path: str, problems: list[str]) -> object:
    if is_dataclass(kind) and isinstance(kind, type):
        return _read(kind, raw, path, problems)
    origin, options = get_origin(kind), get_args(kind)
    if origin is Literal:
        if raw not in options:
            problems.append(f"{path}: {raw!r} is not one of {', '.join(map(str, options))}")
        return raw
    if origin is tuple:
        return _sequence(options, raw, path, problems)
    if origin is Mapping:
        return _named(options[1], raw, path, problems)
    if type(None) in options:
        if raw is None:
            return None
        kind = options[0]
    return _scalar(kind, raw, path, problems)


def _named(kind: Any, raw: object, path: str, problems: list[str]) -> object:
    if not isinstance(raw, Mapping):
        problems.append(f"{path}: must be a mapping of names, not {raw!r}")
        return {}
    odd = [name for name in raw if not (isinstance(name, str) and _NAME.fullmatch(name))]
    problems += [f"{path}: {name!r} is no name; letters, digits, - and _ are" for name in odd]
    if len(raw) > MOST_NAMES:
        problems.append(f"{path}: {len(raw)} are given, {MOST_NAMES} are the most")
    return {str(n): _value(kind, one, _join(path, str(n)), problems) for n, one in raw.items()}


def _sequence(options: Any, raw: object, path: str, problems: list[str]) -> object:
    if not isinstance(raw, list | tuple):
        problems.append(f"{path}: expected a list, not {raw!r}")
        return ()
    kinds = [options[0]] * len(raw) if options[-1] is Ellipsis else list(options)
    if len(kinds) != len(raw):
        problems.append(f"{path}: expected {len(kinds)} values, not {len(raw)}")
        return ()
    if options[0] == Point and len(raw) < 3:
        problems.append(f"{path}: a polygon has 3 points or more, not {len(raw)}")
    pairs = zip(kinds, raw, strict=True)
    return tuple(_value(k, v, f"{path}[{i}]", problems) for i, (k, v) in enumerate(pairs))


def _scalar(kind: type, raw: object, path: str, problems: list[str]) -> object:
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        raw = float(raw) if abs(raw) < 2**63 else float("inf")
    if not isinstance(raw, kind) or (isinstance(raw, bool) and kind is not bool):
        problems.append(f"{path}: expected {kind.__name__}, not {raw!r}")
        return raw
    if isinstance(raw, int | float) and kind is not bool:
        _check_range(raw, path, problems)
    if isinstance(raw, str) and not raw.strip() and _name(path) not in _MAY_BE_EMPTY:
        problems.append(f"{path}: must not be empty")
    return raw


def _check_range(number: float, path: str, problems: list[str]) -> None:
    name = _name(path)
    if number != number or number in (float("inf"), float("-inf")):
        problems.append(f"{path}: must be a finite number")
    elif name in _SHARES and not 0 <= number <= 1:
        problems.append(f"{path}: {number} is not a share between 0 and 1")
    elif name in ("http_port", "tcp_port") and number > 65535:
        problems.append(f"{path}: {number} is no port; ports end at 65535")
    elif number < 0 or (number == 0 and not {name, path} & (_MAY_BE_ZERO | _SHARES)):
        problems.append(f"{path}: {number} must be greater than 0")


def _name(path: str) -> str:
    return path.rsplit(".", 1)[-1].split("[")[0]


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
