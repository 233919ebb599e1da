"""A world as text: "world:seed=3,shift=night,strength=0@0/0.95@60,frames=300,hood=1"."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from acclimate.world.shift import KINDS, Shift

_Number = TypeVar("_Number", int, float)

_PREFIX = "world:"
_SMALLEST, _LARGEST = 32, 4096

Profile = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class WorldSpec:
    """A drive and how its shift develops; profile is (time in s, strength) in order of time."""

    seed: int = 0
    size: tuple[int, int] = (160, 224)  # height, width
    hood: bool = False
    fps: float = 10.0
    frames: int | None = None
    shift: str = "none"
    profile: Profile = ((0.0, 0.0),)

    def shift_at(self, seconds: float) -> Shift:
        """The shift at a time: linear between the profile's points, constant outside them."""
        times, strengths = zip(*self.profile, strict=True)
        return Shift(self.shift, float(np.interp(seconds, times, strengths)))


def parse_spec(text: str) -> WorldSpec:
    """Read a spec; a ValueError names what is wrong and what is allowed."""
    if not text.startswith(_PREFIX):
        raise ValueError(f"world spec {text!r} does not start with {_PREFIX!r}")
    fields: dict[str, Any] = {}
    for item in filter(None, text.removeprefix(_PREFIX).split(",")):
        key, equals, value = (piece.strip() for piece in item.partition("="))
        if key not in _READERS:
            raise ValueError(f"unknown key {key!r} in world spec; allowed: {', '.join(_READERS)}")
        if not equals:
            raise ValueError(f"{key} has no value in world spec; write {key}=VALUE")
        name = "profile" if key == "strength" else key
        if name in fields:
            raise ValueError(f"{key} is given twice in world spec")
        fields[name] = _READERS[key](key, value)
    if fields.get("shift", "none") != "none" and "profile" not in fields:
        fields["profile"] = ((0.0, 1.0),)
    return WorldSpec(**fields)


def _integer(key: str, value: str) -> int:
    return _read(int, key, value, "a whole number of 0 or more", lambda n: n >= 0)


def _positive(key: str, value: str) -> int:
    return _read(int, key, value, "a whole number of 1 or more", lambda n: n >= 1)


def _rate(key: str, value: str) -> float:
    return _read(float, key, value, "a number above 0", lambda x: 0.0 < x < math.inf)


def _flag(key: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError(f"{key}={value!r} in world spec is not 0 or 1")
    return value == "1"


def _size(key: str, value: str) -> tuple[int, int]:
    wanted = f"HEIGHTxWIDTH, each {_SMALLEST}..{_LARGEST}"
    sides = value.split("x")
    if len(sides) != 2:
        raise ValueError(f"{key}={value!r} in world spec is not {wanted}")

    def fits(n: float) -> bool:
        return _SMALLEST <= n <= _LARGEST

    return _read(int, key, sides[0], wanted, fits), _read(int, key, sides[1], wanted, fits)


def _kind(key: str, value: str) -> str:
    if value not in KINDS:
        raise ValueError(f"unknown {key} {value!r} in world spec; allowed: {', '.join(KINDS)}")
    return value


def _profile(key: str, value: str) -> Profile:
    """One strength, or strengths with their times: 0@0/0.95@100."""
    points = []
    for piece in value.split("/"):
        strength, at, time = piece.partition("@")
        if not at and "/" in value:
            raise ValueError(f"{key}={value!r} in world spec: {piece!r} is not STRENGTH@SECONDS")
        points.append((_time(key, time if at else "0"), _strength(key, strength)))
    if any(a[0] >= b[0] for a, b in pairwise(points)):
        raise ValueError(f"{key}={value!r} in world spec: times must increase")
    return tuple(points)


def _time(key: str, value: str) -> float:
    return _read(float, key, value, "a time of 0 s or more", lambda t: 0.0 <= t < math.inf)


def _strength(key: str, value: str) -> float:
    return _read(float, key, value, "a strength within 0..1", lambda s: 0.0 <= s <= 1.0)


def _read(
    number: Callable[[str], _Number],
    key: str,
    value: str,
    wanted: str,
    valid: Callable[[float], bool],
) -> _Number:
    try:
        result = number(value)
    except ValueError:
        raise ValueError(f"{key}: {value!r} in world spec is not {wanted}") from None
    if not valid(result):
        raise ValueError(f"{key}: {value!r} in world spec is not {wanted}")
    return result


_READERS: dict[str, Callable[[str, str], Any]] = {
    "seed": _integer,
    "size": _size,
    "hood": _flag,
    "fps": _rate,
    "frames": _positive,
    "shift": _kind,
    "strength": _profile,
}
