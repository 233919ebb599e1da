"""Units run once, and again only where their file is torn or of other settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.resume import Result, Unit, finished, keep, run_units

ONE, TWO = Unit("default", "sudden", "free", 11), Unit("default", "sudden", "free", 12)
SETTINGS: Result = {"steps": 3, "parts": (0.5, 1.0)}


def alike(unit: Unit) -> Result:
    """The same for all."""
    return SETTINGS


def note(unit: Unit, work: Path, plan: Any) -> Result:
    """Leaves a mark each time it runs; fails for the seed that `plan` names."""
    if unit.seed == plan:
        raise ValueError(f"seed {plan}")
    with (work / "ran").open("a") as file:
        file.write(f"{unit.seed}\n")
    return {"score": unit.seed / 2}


def ran(work: Path) -> list[str]:
    return (work / "ran").read_text().split() if (work / "ran").exists() else []


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "units").mkdir()
    return tmp_path


def test_finished_units_are_read_and_not_run_again(work: Path) -> None:
    keep(ONE, work, SETTINGS, note, None)
    assert list(run_units([ONE], work, alike, 1, note, None)) == []
    assert ran(work) == ["11"]
    stored = finished(work, ONE, SETTINGS)
    assert stored is not None and stored["score"] == 5.5 and stored["unit_seconds"] >= 0


def test_other_settings_make_it_unfinished(work: Path) -> None:
    keep(ONE, work, SETTINGS, note, None)
    assert finished(work, ONE, SETTINGS | {"steps": 4}) is None


@pytest.mark.parametrize("torn", ["", '{"settings"', "[]", "null"])
def test_a_torn_file_is_unfinished(work: Path, torn: str) -> None:
    keep(ONE, work, SETTINGS, note, None)
    (work / "units" / f"{ONE.name}.json").write_text(torn)
    assert finished(work, ONE, SETTINGS) is None


def test_a_run_that_failed_goes_on_where_it_stopped(work: Path) -> None:
    with pytest.raises(ValueError, match="seed 12"):
        list(run_units([ONE, TWO], work, alike, 1, note, 12))
    assert finished(work, ONE, SETTINGS) is not None
    assert finished(work, TWO, SETTINGS) is None
    keep(TWO, work, SETTINGS, note, None)
    assert list(run_units([ONE, TWO], work, alike, 1, note, 12)) == []
    assert ran(work) == ["11", "12"]
