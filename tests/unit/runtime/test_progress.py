"""How far a long job is, in words."""

from __future__ import annotations

import pytest

from acclimate.runtime import progress
from acclimate.runtime.progress import Progress, duration


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0 s"), (119.4, "119 s"), (120, "2 min"), (7100, "118 min"),
    (3 * 3600 + 1200, "3 h 20 min"), (3 * 86400 + 4 * 3600, "3 d 4 h"),
])  # fmt: skip
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_time_left_counts_only_what_was_done_now(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten of 30 were done before; five took 20 s, so 15 take 60."""
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    counted = Progress("steps", 30, done=10)
    for _ in range(5):
        clock[0] += 4.0
        counted.step()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[-1] == "15 of 30 steps, 4.0 s each, 60 s left ..."


def test_without_a_total_nothing_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    counted = Progress("frames")
    for _ in range(4):
        counted.step()
    assert counted.line(2.0) == "4 frames, 2.0 a second ..."
    assert capsys.readouterr().err == ""
