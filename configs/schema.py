"""The whole configuration: typed, frozen, read once; every problem is reported together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, get_origin, get_type_hints, runtime_checkable

import yaml

from acclimate.configs import adapt
from acclimate.configs.adapt import AdaptConfig as AdaptConfig
from acclimate.configs.adapt import Point
from acclimate.configs.control import ControlConfig
from acclimate.configs.outputs import OutputsConfig
from acclimate.configs.trust import TrustConfig
from acclimate.errors import ConfigError

EngineName = Literal[
    "auto", "onnxruntime-cpu", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt",
    "tensorrt-rtx",
]  # fmt: skip
Precision = Literal["auto", "fp32", "fp16", "bf16", "int8"]


@runtime_checkable
class Checked(Protocol):
    """A part whose keys must fit together."""

    def problems(self) -> list[str]:
        """What is wrong with it as a whole."""


@dataclass(frozen=True)
class SourceConfig:
    """Where frames come from. `policy` auto = newest for live sources, every for files.

    `url`: an rtsp:// or http:// address, a camera's number or device file (behind a ? its
    `video_size`, `framerate` and `input_format`), gst:PIPELINE as gst-launch-1.0 takes it, a film,
    an image or a folder of them, an MCAP file or a ROS 2 bag, or world:SPEC. `topic`: of a bag with
    several that have pictures. Live ones: silent for `stale_seconds` they are torn down and tried
    again after `reconnect_seconds`, then twice as long, up to half a minute. `transport` of RTSP;
    udp waits up to `latency_seconds` for packets out of order. `hardware_decode`: by a device that
    FFmpeg knows, where there is one; off: always by the processor. `hood`: polygons as in
    `adapt.hood`, which these are added to.
    """

    url: str = "world:"
    policy: Literal["auto", "newest", "every"] = "auto"
    topic: str | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    latency_seconds: float = 0.2
    hardware_decode: bool = True
    hood: tuple[tuple[Point, ...], ...] = ()
    reconnect_seconds: float = 1.0
    stale_seconds: float = 20.0


@dataclass(frozen=True)
class ModelConfig:
    """Base weights and vocabulary (packaged name or file).

    `weights`: a file, a published name, "default" (as None) or "augmented": the embedded base, or
    the same trained on with strong photometric augmentation.
    """

    weights: str | None = None
    vocabulary: str = "world"


@dataclass(frozen=True)
class ServingConfig:
    """What serves, and what is written out.

    `size` (H, W) of a frame in pixels, `batch` frames at a time, `capacity` the most strings that
    an engine built for a GPU takes; `sliding`: windows and an overview of each frame, slower.
    `fit`: how a picture of another size comes into the frame, stretched or with its own aspect.
    """

    size: tuple[int, int] = (160, 224)
    threads: int = 2
    engine: EngineName = "auto"
    precision: Precision = "auto"
    capacity: int = 256
    batch: int = 1
    sliding: bool = False
    fit: Literal["squash", "letterbox"] = "squash"
    overlay_video: bool = True
    label_png: bool = False
    latest_hz: float = 2.0


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
class DriftConfig:
    """When to adapt. Drift is a distance from where the active adapter was made, in units of the
    spread there; averages over `smoothing_frames`. What is usual is said by the first
    `reference_frames` of an adapter while the picture moves.

    Alarm: the root of the sum of squares of the embedding's distance, `entropy_weight` times how
    far the entropy rose and `histogram_weight` times the class shares' divergence, from `threshold`
    up until it falls below the share `release` of it. An alarm may start `burst` rounds and
    `rounds_per_hour` in the long run (0 = no limit), `adapt.cooldown_s` apart. None while parked:
    pictures half a second apart that differ by less than `min_change` grey levels (0 = never); and
    nothing is learned, buffered or judged while blinded: darker than `min_light` or flatter than
    `min_contrast`, in grey levels. Another good adapter is recalled where its distance is below
    `recall_ratio` of the active one's.
    """

    reference_frames: int = 300
    threshold: float = 2.0
    release: float = 0.75
    smoothing_frames: int = 50
    entropy_weight: float = 1.0
    histogram_weight: float = 0.0
    rounds_per_hour: float = 20.0
    burst: int = 6
    min_change: float = 2.5
    min_light: float = 8.0
    min_contrast: float = 6.0
    recall_ratio: float = 0.6


@dataclass(frozen=True)
class GateConfig:
    """What a candidate must show on held-out frames, and what competes with it.

    Bounds (shares 0..1, JS divergence in bits): `max_histogram_js` is for what was learned,
    `max_jump_js` for all that changes in a swap, colours too.
    Contest (points of mIoU, at `confidence` by a paired bootstrap over `frames` frames): what was
    learned must beat the best of what serves, the base, both with the stream's colours moved
    `adapt.colour` of the way to daylight's, the base with those moved `normalise`, and the `recall`
    nearest good adapters. The best of them, by the stream's frames and dressed scenes together,
    serves if it beats what does: by `margin` where only the base's colours change, else by
    `margin_learned`. "not_worse" asks of what was learned only that it is not surely worse. In the
    eyes of the best's own changed views it may lose `max_teacher_drop`.
    Labelled scenes of the source in the stream's look decide where there are some (`dressed`, the
    embedded bases): what was learned must gain `margin_dressed` there, at `confidence`, and not
    lose more than `max_duel_loss` in the duel; then bounds that ask for sameness are not asked.
    Memory: it may lose `max_memory_drop` on `memory_frames` frames of earlier conditions, of which
    all bundles together keep `memory_mb`, and `max_source_drop` on the source's probe scenes.
    `labelled_dir`: pictures of yours; the mean may lose `max_labelled_drop`, each safety class
    `max_safety_drop`.
    """

    min_pseudo_miou: float = 0.5
    min_agreement: float = 0.99
    max_histogram_js: float = 0.02
    max_jump_js: float = 0.3
    min_class_recall: float = 0.5
    contest: Literal["better", "not_worse"] = "better"
    margin: float = 0.5
    confidence: float = 0.9
    margin_learned: float = 1.5
    max_teacher_drop: float = 6.0
    dressed: bool = True
    margin_dressed: float = 0.05
    max_duel_loss: float = 1.0
    normalise: tuple[float, ...] = (1.0,)
    recall: int = 1
    frames: int = 12
    memory_frames: int = 12
    memory_mb: float = 16.0
    max_memory_drop: float = 5.0
    max_source_drop: float = 5.0
    labelled_dir: str | None = None
    max_labelled_drop: float = 1.0
    max_safety_drop: float = 2.0


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

    @property
    def hoods(self) -> tuple[tuple[Point, ...], ...]:
        """Polygons that nothing is learned from, whichever camera they were drawn for: all
        cameras teach one adapter, and their bonnets are small beside their roads."""
        return self.adapt.hood + tuple(p for one in self.sources.values() for p in one.hood)


_SHARES = adapt.SHARES | {
    "heldout_share", "min_pseudo_miou", "min_agreement", "max_histogram_js", "max_jump_js",
    "min_class_recall", "max_confidence_drop", "recall_ratio", "confidence",
    "normalise", "duty", "max_disagreement", "max_share_jump", "release",
}  # fmt: skip
_MAY_BE_ZERO = adapt.MAY_BE_ZERO | {
    "http_port", "tcp_port", "latest_hz", "novelty", "max_labelled_drop", "max_safety_drop",
    "margin", "margin_learned", "margin_dressed", "max_duel_loss", "recall",
    "memory_frames", "max_memory_drop", "max_source_drop", "shadow.frames",
    "entropy_weight", "histogram_weight", "rounds_per_hour", "min_change", "min_light",
    "min_contrast", "max_age_hours", "outputs.hz", "latency_seconds",
}  # fmt: skip
_MAY_BE_EMPTY = {"http_host"}  # every address of the machine
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,31}")  # of a file, and of a label in /metrics
MOST_NAMES = 8


def load_config(path: Path) -> Config:
    """Read a YAML file; raises ConfigError with every problem in it."""
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"cannot read {path}: {error}"]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
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
