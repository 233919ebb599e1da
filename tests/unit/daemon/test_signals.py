"""Signals are noted and taken."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from acclimate.daemon.signals import HEEDED, Signals


@pytest.fixture
def listening() -> Iterator[Signals]:
    """One that listens; what was before is put back."""
    before = {number: signal.getsignal(number) for number in HEEDED}
    one = Signals()
    one.listen()
    yield one
    for number, handler in before.items():
        signal.signal(number, handler)


def test_all_that_came_is_told_once_and_in_order(listening: Signals) -> None:
    sent = [signal.SIGHUP, signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
    for number in sent:
        os.kill(os.getpid(), number)
    assert listening.take() == sent
    assert listening.take() == []
