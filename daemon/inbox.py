"""Wishes of people and programs, taken by the daemon's own thread: no other one changes anything.

Whoever asks holds a Future: its result is what was done, SwapRefused why it was not. Cancelled
before it is taken, a wish was never there.
"""

from __future__ import annotations

import threading
from collections.abc import Container
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from acclimate.errors import SwapRefused

MOST = 64
Wish = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One wish, {"do": what, ...}, and who has it."""

    wish: Wish
    actor: str
    answer: Future[str] = field(default_factory=Future)

    @property
    def reason(self) -> str:
        """Why, in the asker's own words."""
        return str(self.wish.get("reason") or "asked for")

    def done(self, message: str) -> None:
        """It is as was wished."""
        self.answer.set_result(message)

    def refuse(self, reason: str) -> None:
        """It will not be."""
        self.answer.set_exception(SwapRefused(reason))


class Inbox:
    """Taken in order of arrival."""

    def __init__(self) -> None:
        self._waiting: list[Asked] = []
        self._lock, self._closed = threading.Lock(), False

    def ask(self, wish: Wish, actor: str) -> Future[str]:
        """Leave a wish; raises SwapRefused where nobody will take it."""
        asked = Asked(wish, actor)
        with self._lock:
            if self._closed:
                raise SwapRefused("the daemon stops")
            if len(self._waiting) >= MOST:
                raise SwapRefused(f"{MOST} wishes wait already; ask again later")
            self._waiting.append(asked)
        return asked.answer

    def take(self, only: Container[str] | None = None) -> Asked | None:
        """The next wish; with `only`, the next one to do one of these."""
        with self._lock:
            for asked in list(self._waiting):
                if only is None or asked.wish.get("do") in only:
                    self._waiting.remove(asked)
                    if asked.answer.set_running_or_notify_cancel():
                        return asked
        return None

    def close(self) -> None:
        """Nobody takes wishes any more."""
        with self._lock:
            self._closed = True
        while (asked := self.take()) is not None:
            asked.refuse("the daemon stops")
