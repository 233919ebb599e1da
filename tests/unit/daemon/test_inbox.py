"""Wishes of other threads."""

from __future__ import annotations

import pytest

from acclimate.daemon.inbox import MOST, Inbox
from acclimate.errors import SwapRefused


def test_wishes_are_taken_once_in_order() -> None:
    inbox = Inbox()
    for number in range(3):
        inbox.ask({"n": number}, "anna")
    taken = [inbox.take() for _ in range(4)]
    assert [one and one.wish["n"] for one in taken] == [0, 1, 2, None]


def test_some_may_be_taken_before_others() -> None:
    inbox = Inbox()
    inbox.ask({"do": "rollback"}, "anna")
    inbox.ask({"do": "pause"}, "anna")
    first, none, last = inbox.take(("pause",)), inbox.take(("pause",)), inbox.take()
    assert first is not None
    assert last is not None
    assert (first.wish, none, last.wish) == ({"do": "pause"}, None, {"do": "rollback"})


def test_the_answer_reaches_who_asked() -> None:
    inbox = Inbox()
    good, bad = inbox.ask({"n": 0}, "anna"), inbox.ask({"n": 1}, "bert")
    for number, one in enumerate((inbox.take(), inbox.take())):
        assert one is not None
        one.refuse("no") if number else one.done("yes")
    assert good.result(0) == "yes"
    with pytest.raises(SwapRefused, match="no"):
        bad.result(0)


def test_a_wish_withdrawn_was_never_there() -> None:
    inbox = Inbox()
    gone, kept = inbox.ask({"n": 0}, "anna"), inbox.ask({"n": 1}, "anna")
    assert gone.cancel()
    taken = inbox.take()
    assert taken is not None
    assert taken.wish == {"n": 1}
    assert not kept.cancel(), "it has been taken"


def test_there_is_an_end_to_patience() -> None:
    inbox = Inbox()
    for number in range(MOST):
        inbox.ask({"n": number}, "anna")
    with pytest.raises(SwapRefused, match="64 wishes wait"):
        inbox.ask({}, "anna")


def test_nobody_waits_for_a_daemon_that_stops() -> None:
    inbox = Inbox()
    waiting = inbox.ask({}, "anna")
    inbox.close()
    with pytest.raises(SwapRefused, match="stops"):
        waiting.result(0)
    with pytest.raises(SwapRefused, match="stops"):
        inbox.ask({}, "anna")
