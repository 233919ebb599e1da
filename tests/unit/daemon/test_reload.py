"""Another configuration for a daemon that serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.schema import Config, parse_config, to_dict
from acclimate.daemon import reload as module
from acclimate.daemon.reload import FRESH_RUNTIME, RESTART, TAKES, changes, problems, takes
from acclimate.errors import ConfigError
from tests.unit.daemon.conftest import CONFIG, DUSK, House


def config(**sections: dict[str, Any]) -> Config:
    """CONFIG with these keys changed."""
    raw = to_dict(CONFIG)
    return parse_config(raw | {name: {**raw[name], **keys} for name, keys in sections.items()})


def reload(house: House, wanted: Config | ConfigError, ticks: int = 3) -> None:
    """As SIGHUP does, and time for a fresh runtime."""

    def read() -> Config:
        if isinstance(wanted, ConfigError):
            raise wanted
        return wanted

    house.life.reload.ask(read)
    house.ticks(ticks)


# ---- what a key takes


def test_every_key_of_the_table_is_one_of_the_configuration() -> None:
    keys = {f"{section}.{key}" for section, part in to_dict(Config()).items() for key in part}
    assert TAKES.keys() <= keys | to_dict(Config()).keys()


@pytest.mark.parametrize(
    "key",
    ["model.weights", "model.vocabulary", "daemon.http_host", "daemon.http_port", "serving.size",
     "serving.engine", "adapt.blocks", "nobody.thought_of_it"],
)  # fmt: skip
def test_what_the_engine_was_made_for_needs_a_restart_and_so_does_the_unknown(key: str) -> None:
    assert takes(key) == RESTART


@pytest.mark.parametrize("section", ["source", "buffer"])
def test_what_takes_a_fresh_runtime(section: str) -> None:
    assert takes(f"{section}.anything") == FRESH_RUNTIME


def test_differences_are_named_key_by_key() -> None:
    other = config(drift={"threshold": 3}, adapt={"hood": [[[0, 0], [1, 0], [1, 1]]]})
    assert changes(CONFIG, other) == {
        "drift.threshold": [1.0, 3.0], "adapt.hood": [[], [[[0, 0], [1, 0], [1, 1]]]],
    }  # fmt: skip
    assert changes(CONFIG, CONFIG) == {}


def test_every_problem_is_told() -> None:
    other = config(model={"vocabulary": "camvid"}, daemon={"http_port": 1, "http_host": "x"})
    found = problems(changes(CONFIG, other))
    assert [text.split(":")[0] for text in found] == [
        "model.vocabulary", "daemon.http_host", "daemon.http_port",
    ]  # fmt: skip
    assert all("restart" in text for text in found)


# ---- on the spot


def test_what_the_daemon_goes_by_changes_at_once(open_house: House) -> None:
    wanted = config(
        drift={"threshold": 9.0, "smoothing_frames": 3, "reference_frames": 99,
               "rounds_per_hour": 5.0, "burst": 2, "min_light": 1.0},
        adapt={"min_frames": 3}, gate={"margin": 2.0}, shadow={"frames": 4},
        probation={"before_frames": 7}, daemon={"stop_timeout_s": 3.0},
    )  # fmt: skip
    reload(open_house, wanted)
    life = open_house.life
    assert life.config is wanted
    assert (life.rounds.config.adapt, life.rounds.config.gate) == (wanted.adapt, wanted.gate)
    assert life.stream._config is life.stream._drift._config is wanted.drift
    assert (life.stream.window.wanted, life.stream._since_swap.wanted) == (7, 99)
    assert life.rounds._budget.left == 2
    assert open_house.serving.config is wanted.daemon
    assert open_house.serving.started == ["base"], "serving goes on"
    assert parse_config(open_house.serving.heard[-1]["config"]) == wanted
    kept = json.loads((open_house.folder / "config.json").read_text())
    assert parse_config(kept) == wanted, "a runtime that is started again reads this"


def test_it_tells_what_changed_from_what_to_what(open_house: House) -> None:
    reload(open_house, config(drift={"threshold": 9.0}))
    assert open_house.last("config_reloaded")["changed"] == {"drift.threshold": [1.0, 9.0]}
    reload(open_house, config(drift={"threshold": 9.0}))
    assert open_house.last("config_reloaded")["changed"] == {}


def test_a_higher_threshold_keeps_the_alarm_down(open_house: House) -> None:
    reload(open_house, config(drift={"threshold": 1000.0}))
    open_house.drive(DUSK)
    assert "round_started" not in open_house.kinds
    reload(open_house, CONFIG)
    open_house.drive(DUSK)
    assert "round_started" in open_house.kinds


def test_a_round_under_way_keeps_its_own(open_house: House) -> None:
    open_house.drive(DUSK)
    now = open_house.life.rounds.now
    assert now is not None
    reload(open_house, config(adapt={"steps": 77}))
    assert open_house.life.rounds.now is now
    assert now.settings is CONFIG.adapt
    assert open_house.killed == []


# ---- refused


def test_a_wrong_file_changes_nothing(open_house: House) -> None:
    reload(open_house, ConfigError(["drift.threshold: wrong", "sourse: unknown key"]))
    assert open_house.life.config is CONFIG
    told = open_house.last("config_refused")["problems"]
    assert told == ["drift.threshold: wrong", "sourse: unknown key"]
    assert open_house.serving.heard == []


def test_one_key_that_needs_a_restart_refuses_all(open_house: House) -> None:
    wanted = config(drift={"threshold": 9.0}, source={"url": "0"}, model={"weights": "augmented"})
    reload(open_house, wanted)
    assert open_house.last("config_refused")["problems"] == [
        "model.weights: a change needs a restart of the daemon (systemctl restart acclimate)"
    ]
    assert open_house.life.config is CONFIG
    assert open_house.serving.retired == 0


def test_a_full_disk_refuses(open_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomic", full)
    reload(open_house, config(drift={"threshold": 9.0}))
    assert "No space left" in open_house.last("config_refused")["problems"][0]
    assert open_house.life.config is CONFIG


def test_a_key_that_is_none_is_refused_as_at_a_start(open_house: House, tmp_path: Path) -> None:
    reload(open_house, config(buffer={"key_file": str(tmp_path / "nowhere")}))
    assert "nowhere cannot be read" in open_house.last("config_refused")["problems"][0]
    assert open_house.serving.retired == 0
    assert open_house.life.config is CONFIG


def test_passwords_are_not_told(open_house: House) -> None:
    reload(open_house, config(source={"url": "rtsp://user:secret@cam/1"}))
    told = open_house.last("config_reloaded")["changed"]["source.url"]
    assert told == ["world:", "rtsp://cam/1"]
