"""A process that dies, or a power cut, at every change of every file: old or new, never between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acclimate.daemon import registry
from acclimate.runtime import durable
from benchmarks.crash_runs import Count, changes, killed, killed_buffer

STEP = 8


def check(count: Count, least: int) -> None:
    assert count.found == []
    assert count.kill_points >= least
    assert count.runs >= count.kill_points


@pytest.mark.parametrize("offset", range(2))
def test_a_process_killed_at_a_change_leaves_the_old_or_the_new(
    tmp_path: Path, offset: int
) -> None:
    check(killed(tmp_path, seed=offset, step=STEP), 120)


def test_a_power_cut_at_a_change_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    check(killed(tmp_path, seed=2, step=STEP + 2, power=True), 100)


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
def test_a_buffer_holds_whole_frames_only(tmp_path: Path, power: bool) -> None:
    check(killed_buffer(tmp_path, step=2, power=power), 60)


def test_a_life_has_hundreds_of_changes(tmp_path: Path) -> None:
    assert changes(tmp_path) > 300


# ---- the harness itself sees what it should


def careless(path: Path, content: bytes) -> None:
    """Written in place."""
    path.write_bytes(content)


def unsynced(path: Path, content: bytes) -> None:
    """The classic: renamed before its content is on the disk."""
    durable.replace_file(path, content)


def removed_in_place(path: Path) -> None:
    """Half of it is there under its name for a while."""
    durable.shutil.rmtree(path)


@pytest.mark.parametrize(
    ("name", "worse", "power", "seen"),
    [
        ("write_atomic", careless, False, "the truth is unreadable"),
        ("write_atomic", unsynced, True, "the truth is unreadable"),
        ("remove_folder", removed_in_place, False, "half an adapter"),
    ],
)
def test_careless_code_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, worse: Callable[..., None],
    power: bool, seen: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(registry, name, worse)
    life = ("good", "good", "good", "good", "learn", "learn", "prune")
    found = killed(tmp_path, life, step=12, power=power)
    assert any(seen in one for one in found.found), found.found[:3]
