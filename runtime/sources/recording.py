"""What a recording holds, whatever its container."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Topic:
    """`kind`: the type of its messages; `count` of them in `seconds`, 0 where nobody counted."""

    name: str
    kind: str
    encoding: str
    count: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Entry:
    """One message; `logged` nanoseconds since 1970, when it was recorded."""

    topic: Topic
    logged: int
    data: bytes


class Recording(Protocol):
    """One file of a recording; making one raises SourceError where it is none."""

    topics: dict[str, Topic]
    trouble: str

    def entries(self, topic: str | None = None) -> Iterator[Entry]:
        """Its messages, all or of one topic, in the order in which they were recorded; `trouble`
        says afterwards what could not be read."""
