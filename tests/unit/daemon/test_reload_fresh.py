"""Another configuration that takes a fresh runtime: it loads while the old one serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.schema import Config, parse_config
from acclimate.daemon import reload as module
from acclimate.daemon.status import doing
from tests.unit.daemon.conftest import CONFIG, DUSK, FakeStandby, House
from tests.unit.daemon.test_reload import config, reload

WANTED = config(source={"url": "film.mp4"}, drift={"threshold": 9.0})


def loading(house: House) -> FakeStandby:
    """Ask for WANTED; the runtime that loads it takes its time."""
    house.serving.slow = True
    reload(house, WANTED)
    assert house.serving.standby is not None
    return house.serving.standby


def kept(house: House) -> Config | None:
    """What a runtime that is started now would go by."""
    path = house.folder / "config.json"
    return parse_config(json.loads(path.read_text())) if path.exists() else None


def assert_old_one_serves(house: House) -> None:
    """As if nobody had asked for anything."""
    assert house.life.config is CONFIG
    assert (house.serving.retired, house.serving.standby) == (0, None)
    assert kept(house) in (None, CONFIG)
    assert not (house.folder / "config.wanted.json").exists()
    assert not house.life.reload.busy


def refused(house: House) -> str:
    assert "config_reloaded" not in house.kinds
    (problem,) = house.last("config_refused")["problems"]
    return str(problem)


# ---- new before old


def test_while_it_loads_the_old_one_serves_by_the_old_configuration(house: House) -> None:
    house.life.start()
    name = house.settle()
    standby = loading(house)
    assert (standby.config, standby.beginning[0]) == (WANTED, name)
    assert (house.serving.retired, house.serving.started) == (0, ["base"])
    assert (house.life.config, kept(house)) == (CONFIG, None)
    assert doing(house.life) == "a fresh runtime loads the new configuration"
    standby.stands_by = True
    house.ticks(1)
    assert (house.life.config, kept(house)) == (WANTED, WANTED)
    assert (house.serving.retired, house.serving.started) == (1, ["base", name])
    assert "config_reloaded" not in house.kinds, "it has not come up yet"
    house.ticks(1)
    assert house.state.active == house.serving.active == name
    assert list(house.last("config_reloaded")["changed"]) == ["source.url", "drift.threshold"]
    assert house.metric("acclimate_runtime_restarts_total") == 0, "nothing died"
    assert not (house.folder / "config.wanted.json").exists()
    assert not house.life.reload.busy


def test_no_budget_is_spent(open_house: House) -> None:
    open_house.serving.budget = 1
    reload(open_house, WANTED)
    assert open_house.kinds[-1] == "config_reloaded"


def test_what_is_asked_meanwhile_comes_after_it(open_house: House) -> None:
    standby = loading(open_house)
    open_house.life.reload.ask(lambda: config(drift={"threshold": 3.0}))
    open_house.ticks()
    assert open_house.serving.standby is standby
    standby.stands_by, open_house.serving.slow = True, False
    open_house.ticks(5)
    told = [e["changed"] for e in open_house.log.events if e["event"] == "config_reloaded"]
    assert [list(changed) for changed in told] == [
        ["source.url", "drift.threshold"], ["source.url", "drift.threshold"],
    ]  # fmt: skip
    assert open_house.life.config.drift.threshold == 3.0


def test_an_unanswered_purge_is_not_waited_for_by_who_comes_after(open_house: House) -> None:
    standby = loading(open_house)
    open_house.serving.events = list  # type: ignore[method-assign]
    answer = open_house.command(do="purge", hours=0)
    assert not answer.done()
    standby.stands_by = True
    open_house.ticks(1)
    assert "took over; ask again" in str(answer.exception(0))


# ---- it does not come to that


def test_one_that_dies_is_refused_and_nothing_happened(open_house: House) -> None:
    standby = loading(open_house)
    standby.trouble = "source 'film.mp4' is no film"
    open_house.ticks(1)
    assert refused(open_house) == (
        "the runtime did not start with it: source 'film.mp4' is no film"
    )
    assert_old_one_serves(open_house)
    assert (open_house.serving.started, open_house.serving.forgiven) == (["base"], 0)


def test_when_the_old_one_dies_meanwhile_it_has_the_memory_for_itself(open_house: House) -> None:
    loading(open_house)
    open_house.serving.crash()
    open_house.ticks()
    assert "died while another one loaded" in refused(open_house)
    assert_old_one_serves(open_house)
    assert (open_house.serving.started, open_house.serving.forgiven) == (["base", "base"], 0)


def test_nobody_is_left_when_the_daemon_stops(open_house: House) -> None:
    loading(open_house)
    open_house.life.close()
    assert refused(open_house) == "the daemon stopped"
    assert_old_one_serves(open_house)


def test_a_film_that_has_ended_is_not_begun_again(open_house: House) -> None:
    loading(open_house).stands_by = True
    open_house.serving.ended = True
    assert not open_house.life.tick()
    open_house.life.close()
    assert_old_one_serves(open_house)


@pytest.mark.parametrize("writes", [0, 1])
def test_a_disk_that_is_full_refuses_before_anything_ends(
    open_house: House, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    left, write = iter(range(writes)), module.write_atomic

    def until_full(path: Path, content: bytes) -> None:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(module, "write_atomic", until_full)
    reload(open_house, WANTED)
    assert "No space left" in refused(open_house)
    assert_old_one_serves(open_house)


# ---- what serves changes meanwhile


def test_a_rollback_meanwhile_does_not_wait_and_is_what_serves_on(house: House) -> None:
    house.life.start()
    name = house.settle()
    standby = loading(house)
    house.command(do="rollback")
    assert house.state.active == house.serving.active == "base"
    standby.stands_by = True
    house.ticks(1)
    again = house.serving.standby
    assert (house.serving.retired, standby.beginning[0]) == (0, name)
    assert again is not None and again is not standby
    assert (again.beginning[0], again.config) == ("base", WANTED)
    again.stands_by = True
    house.ticks(2)
    assert house.serving.started == ["base", "base"]
    assert house.kinds[-1] == "config_reloaded"


def test_one_that_loaded_what_is_gone_is_no_reason_to_refuse(house: House) -> None:
    house.life.start()
    house.settle()
    standby = loading(house)
    house.command(do="rollback")
    standby.trouble, house.serving.slow = "its files are gone", False
    house.ticks(3)
    assert house.serving.started == ["base", "base"]
    assert "config_refused" not in house.kinds


def test_other_words_meanwhile_are_what_is_looked_for(open_house: House) -> None:
    standby = loading(open_house)
    words = open_house.folder / "others.yaml"
    open_house.life.rewording.file = words
    standby.stands_by, open_house.serving.slow = True, False
    open_house.ticks(3)
    assert [one.beginning[1] == words for one in open_house.serving.stood_by] == [False, True]
    assert open_house.serving.vocabulary == str(words)


def test_its_turn_comes_after_a_probation(house: House) -> None:
    house.life.start()
    name = house.adapt()
    reload(house, WANTED)
    assert (house.serving.retired, house.life.probation is None) == (0, False)
    house.drive(DUSK)
    assert house.serving.started == ["base", name]
    assert "set_aside" not in house.kinds


@pytest.mark.parametrize("how", ["blind", "stale"])
def test_a_probation_without_frames_is_not_waited_for(house: House, how: str) -> None:
    """Another camera may be what was asked for. What is proven serves on."""
    house.life.start()
    name = house.adapt()
    reload(house, WANTED)
    house.serving.stream(DUSK, times=1, blind=how == "blind")
    house.serving.said[-1] |= {"source": "stale" if how == "stale" else "live", "frames": 0}
    house.serving.slow = False
    house.ticks(4)
    assert house.last("set_aside")["id"] == name
    assert house.state.active == house.serving.active == house.serving.started[-1] == "base"
    assert house.serving.retired == 1
    assert name not in house.state.quarantined, "it did nothing wrong"


def test_last_words_that_change_the_truth_are_heeded(house: House) -> None:
    house.life.start()
    name = house.settle()
    standby = loading(house)
    house.serving.last_words = [{"event": "refused", "id": name, "reason": "it has rotted"}]
    standby.stands_by = True
    house.ticks(2)
    assert house.serving.started == ["base", "base"]
    assert (house.serving.active, house.state.active) == ("base", "base")
    assert (house.serving.standby, kept(house)) == (None, WANTED)


def test_a_swap_under_way_is_waited_for(open_house: House) -> None:
    open_house.serving.deaf = True
    open_house.drive(DUSK)
    open_house.outcome = "accepted"
    open_house.ticks(1)
    assert open_house.life.swapping is not None
    reload(open_house, WANTED)
    assert open_house.serving.stood_by == []
    assert open_house.life.reload.busy
    open_house.outcome = None
    open_house.serving.take_up(open_house.life.swapping[0])
    open_house.serving.deaf = False
    open_house.drive(DUSK)
    assert open_house.serving.retired == 1


# ---- it goes, and finds out then


def test_one_that_cannot_open_its_files_brings_the_old_configuration_back(
    open_house: House,
) -> None:
    serving, takes_over = open_house.serving, open_house.serving.take_over

    def dies() -> None:
        takes_over()
        serving.said.clear()
        serving.reason = "[Errno 30] Read-only file system: '/out'"
        serving.crash()

    serving.take_over = dies  # type: ignore[method-assign]
    reload(open_house, WANTED, ticks=2)
    assert (open_house.life.config, kept(open_house)) == (WANTED, WANTED)
    open_house.ticks(2)
    assert (open_house.life.config, kept(open_house)) == (CONFIG, CONFIG)
    assert "Read-only file system: '/out'" in refused(open_house)
    assert (serving.forgiven, len(serving.started)) == (1, 3)
    assert not open_house.life.reload.busy


def test_a_death_after_it_came_up_is_an_ordinary_one(open_house: House) -> None:
    reload(open_house, WANTED)
    open_house.serving.crash()
    open_house.ticks()
    assert open_house.life.config is WANTED
    assert open_house.serving.forgiven == 0
    assert "config_refused" not in open_house.kinds


def test_the_last_words_of_the_old_runtime_prove_nothing(open_house: House) -> None:
    serving, takes_over = open_house.serving, open_house.serving.take_over
    ready: dict[str, Any] = {
        "event": "ready", "active": "base", "engine": "e", "precision": "p", "reason": "r"
    }  # fmt: skip
    serving.last_words = [ready]

    def slow() -> None:
        takes_over()
        serving.said.clear()

    serving.take_over = slow  # type: ignore[method-assign]
    reload(open_house, WANTED)
    assert open_house.life.reload.busy
    assert "config_reloaded" not in open_house.kinds
