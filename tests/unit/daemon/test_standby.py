"""A runtime that loads: it stands by, or there is a reason why it never will."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acclimate.daemon import standby as module
from acclimate.daemon.standby import FIRST_WORD_LIMIT, Standby
from acclimate.errors import EngineError
from tests.unit.daemon.test_serving import FakeChild

FATAL = {"event": "error", "message": "source 'x.mp4' is no film", "fatal": True}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that is set by hand."""
    hand = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: hand.now))
    return hand


def standby(*said: dict[str, Any], exit_code: int | None = None) -> Standby:
    """One that said this."""
    child: Any = FakeChild("runtime", [], Path("runtime.log"))
    child.said, child.exit_code = list(said), exit_code
    return Standby(child, ("base", Path("words.yaml")))


def test_it_stands_by_from_its_word_on(clock: SimpleNamespace) -> None:
    one = standby()
    assert not one.stands()
    one._child.said.append({"event": "standby"})  # type: ignore[attr-defined]
    assert one.stands()
    clock.now += 2 * FIRST_WORD_LIMIT
    assert one.stands(), "it may have to wait"


@pytest.mark.parametrize(
    ("said", "why"),
    [([FATAL], "source 'x.mp4' is no film"), ([], "exit code -11; see runtime.log")],
)
def test_the_reason_of_its_death_is_told(said: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(EngineError, match=why):
        standby(*said, exit_code=-11).stands()


def test_one_that_dies_while_it_waits_is_noticed() -> None:
    with pytest.raises(EngineError, match="exit code -9"):
        standby({"event": "standby"}, exit_code=-9).stands()


def test_one_that_never_says_a_word_is_not_waited_for(clock: SimpleNamespace) -> None:
    one = standby()
    clock.now += FIRST_WORD_LIMIT
    assert not one.stands()
    clock.now += 1
    with pytest.raises(EngineError, match="not loaded within 600 s"):
        one.stands()
