"""A disk that is full, read-only, failing or forbidden, and too many open files: the truth is the
old or the new, and what could not be written is not promised."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from acclimate.daemon.registry import Registry
from benchmarks.crash_disk import Disk, Refusal
from benchmarks.crash_runs import refused
from benchmarks.crash_story import Life, few_kept, first_state

KINDS = [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE]


@pytest.mark.parametrize("times", [1, 10**9], ids=["once", "for good"])
@pytest.mark.parametrize("number", KINDS, ids=lambda number: errno.errorcode[number])
def test_a_disk_that_refuses_harms_no_truth(tmp_path: Path, number: int, times: int) -> None:
    count = refused(tmp_path, number, step=45, count_of=times, seed=number)
    assert count.found == []
    assert count.kill_points >= 4


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_removed_holds_up_no_quarantine(
    tmp_path: Path, number: int
) -> None:
    """It did once: what was learned could not be dropped, and the adapter stayed good."""
    with few_kept():
        life = Life(first_state(tmp_path / "state"), 0)
        life.play(("good", "learn"))
        (name,) = set(life.registry.state.good) - {"base"}
        with (
            Disk(life.state, Refusal(1, number, 10**9)),
            pytest.raises(PermissionError if number == errno.EACCES else OSError),
        ):
            life.registry.quarantine(name, "it went wrong")
    assert life.registry.unsaved
    assert not life.registry.may_serve(name)
    assert life.registry.way_back() == "base"
    life.registry.save()
    assert name in Registry(life.state).state.quarantined
