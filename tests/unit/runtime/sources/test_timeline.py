"""Seconds into a live source, and how long is waited for it."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.runtime.sources.timeline import LONGEST_PAUSE, Timeline, pauses


def test_the_cameras_clock_counts_not_the_network() -> None:
    line = Timeline()
    arrivals = [(100.0, 7.0), (100.3, 7.1), (100.31, 7.2)]
    assert [line.at(*one) for one in arrivals] == pytest.approx([0.0, 0.1, 0.2])


def test_a_jump_of_that_clock_is_no_jump_of_ours() -> None:
    line = Timeline()
    line.at(100.0, 7.0)
    assert line.at(100.1, 7.1 + 3600) == pytest.approx(0.1)
    assert line.at(100.2, 7.2 + 3600) == pytest.approx(0.2)


def test_without_a_clock_arrival_counts() -> None:
    line = Timeline()
    assert [line.at(5.0, None), line.at(5.5, None)] == [0.0, 0.5]


def test_a_new_connection_begins_where_the_world_is() -> None:
    line = Timeline()
    line.at(100.0, 50.0)
    line.reconnected()
    assert line.at(102.0, 51.0) == pytest.approx(2.0)  # and not 1.0: its clock began anew


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(-1e6, 1e6))))
def test_it_never_runs_backwards(steps: list[tuple[float, float]]) -> None:
    line, now, last = Timeline(), 1000.0, 0.0
    for wait, seconds in steps:
        now += wait
        time = line.at(now, seconds)
        assert time >= last
        last = time


def test_pauses_double_up_to_half_a_minute_and_differ() -> None:
    first = list(islice(pauses(1.0), 12))
    for pause, middle in zip(first, [1, 2, 4, 8, 16, *[LONGEST_PAUSE] * 7], strict=True):
        assert 0.75 * middle <= pause <= 1.25 * middle
    assert first != list(islice(pauses(1.0), 12))
    assert max(islice(pauses(60.0), 5)) >= 45  # who asks for longer gets it
