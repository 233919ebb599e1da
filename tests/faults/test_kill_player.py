"""Real processes, killed at random moments, life after life on one folder."""

from __future__ import annotations

from pathlib import Path

from benchmarks.crash_runs import killed_for_real


def test_two_dozen_lives_end_by_kill_9(tmp_path: Path) -> None:
    count = killed_for_real(tmp_path, lives=24, seed=1)
    assert (count.found, count.kill_points) == ([], 24)
