"""Is each value of `state.json` of the kind that it has to be? What serves hangs on all of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeGuard

from acclimate.runtime.job import is_condition

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # of a folder; leads nowhere else


def check(raw: dict[str, Any]) -> None:
    """Raises ValueError that names the values that are not."""
    if odd := [key for key, is_sound in _SOUND.items() if not is_sound(raw[key])]:
        raise ValueError(f"{', '.join(odd)} cannot be")


def is_name(told: object) -> TypeGuard[str]:
    """Could it be an adapter's id, or a digest?"""
    return isinstance(told, str) and _NAME.fullmatch(told) is not None


def is_count(told: object) -> bool:
    """Could it be a sequence number?"""
    return type(told) is int and 0 <= told < 2**62


def _is_number(told: object) -> bool:
    return isinstance(told, int | float) and not isinstance(told, bool) and abs(told) < 1e15


def _is_pause(told: object) -> bool:
    return isinstance(told, dict) and all(
        _is_number(told.get(key)) or (key == "seconds" and told.get(key, 0) is None)
        for key in ("since", "seconds")
    )


def _are_words(told: object) -> bool:
    """`over` is compared with and nothing else; the others are parts of paths."""
    return (
        isinstance(told, dict)
        and is_name(told.get("key"))
        and is_name(told.get("digest"))
        and isinstance(told.get("over"), str)
    )


def _are_reasons(told: object) -> bool:
    return isinstance(told, dict) and all(
        is_name(name) and isinstance(reason, str) for name, reason in told.items()
    )


def _or_none(is_sound: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda told: told is None or is_sound(told)


_SOUND: dict[str, Callable[[object], bool]] = {
    "sequence": is_count, "active": is_name, "previous": _or_none(is_name),
    "candidate": _or_none(is_name), "pinned": _or_none(is_name),
    "good": lambda told: isinstance(told, list) and all(map(is_name, told)),
    "quarantined": _are_reasons, "reference": _or_none(is_condition),
    "words": _or_none(_are_words), "paused": _or_none(_is_pause),
}  # fmt: skip
