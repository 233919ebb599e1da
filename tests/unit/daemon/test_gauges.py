"""Gauges that are read off the daemon when Prometheus asks."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from acclimate.daemon.gauges import free_bytes
from tests.unit.daemon.conftest import DAY, DUSK, NIGHT, House


def test_an_alarm_rings_until_something_better_serves(house: House) -> None:
    house.drive(DAY)
    assert house.metric("acclimate_drift_alarm") == 0
    house.drive(DUSK)
    assert house.metric("acclimate_drift_alarm") == 1
    house.outcome = "accepted"
    house.ticks()
    assert house.metric("acclimate_drift_alarm") == 0


def test_quarantined_adapters_are_counted_over_restarts(house: House) -> None:
    name = house.settle()
    assert house.metric("acclimate_adapters_quarantined") == 0
    house.command(do="quarantine", id=name)
    assert house.metric("acclimate_adapters_quarantined") == 1
    house.open()
    assert house.metric("acclimate_adapters_quarantined") == 1


def test_rounds_refused_in_a_row(house: House) -> None:
    house.life.metrics.round("refused", 1.0)
    assert house.metric("acclimate_rounds_refused_in_a_row") == 1
    house.adapt()
    assert house.metric("acclimate_rounds_refused_in_a_row") == 0
    assert house.metric("acclimate_rounds_total", "accepted") == 1


def test_trouble_lasts_as_long_as_the_disk_is_full(
    house: House, full_disk: Callable[[bool], None]
) -> None:
    house.settle()
    full_disk(True)
    house.drive(NIGHT)
    house.outcome = "accepted"
    house.ticks()
    assert house.metric("acclimate_trouble") == 1
    full_disk(False)
    house.ticks()
    assert house.metric("acclimate_trouble") == 0


def test_trouble_of_the_buffer_counts_too(house: House) -> None:
    house.drive(DAY)
    house.life.stream.last["trouble"] = "the buffer cannot be written"
    assert house.metric("acclimate_trouble") == 1


def test_a_source_is_in_one_state(house: House) -> None:
    def states() -> set[str]:
        every = house.life.metrics.source.values
        return {state for state in every if house.metric("acclimate_source_state", state)}

    assert states() == {"connecting"}
    house.drive(DAY)
    assert states() == {"live"}
    for told, seen in (("stale", "stale"), ("failed", "failed"), ("upside down", "other")):
        house.life.stream.last["source"] = told
        assert states() == {seen}


def test_each_camera_is_up_or_not(house: House) -> None:
    assert house.metric("acclimate_camera_up", "camera") == 0
    house.drive(DAY)
    for state, up in (("live", 1), ("stale", 0), ("live", 1), ("failed", 0)):
        house.life.stream.last["cameras"] = {"camera": {"state": state, "reason": ""}}
        assert house.metric("acclimate_camera_up", "camera") == up


def test_a_picture_that_nothing_can_be_learned_from(house: House) -> None:
    house.drive(DAY, blind=True)
    assert house.metric("acclimate_picture_unfit", "blind") == 1
    house.drive(DAY, parked=True)
    assert house.metric("acclimate_picture_unfit", "blind") == 0
    assert house.metric("acclimate_picture_unfit", "parked") == 1


def test_room_is_that_of_the_state_folder(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def usage(folder: Path) -> object:
        asked.append(folder)
        return SimpleNamespace(free=60)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert house.metric("acclimate_state_free_bytes") == 60
    assert asked == [house.folder]


def test_a_disk_that_is_gone_is_not_a_number(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0
    assert math.isnan(free_bytes(tmp_path / "gone"))
