"""What an operator does, on a state folder with and without a daemon."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from acclimate.configs.control import ControlConfig
from acclimate.daemon.cli import main
from acclimate.daemon.journal import history, read
from acclimate.daemon.main import only_one
from acclimate.daemon.registry import Registry
from acclimate.daemon.steer import seconds
from tests.unit.daemon.conftest import DAY, House
from tests.unit.daemon.served import listening
from tests.unit.daemon.test_registry import bundle

Said = pytest.CaptureFixture[str]
Call = Callable[..., int]


@pytest.fixture
def call(folder: Path) -> Call:
    """`acclimate ...` on the folder."""
    return lambda *words: main([*words, "--state", str(folder)])


# ---- without a daemon


@pytest.mark.parametrize("name", ["a2/", "../adapters/a2", "./a2"])
@pytest.mark.parametrize("words", [["adapters", "quarantine"], ["adapters", "show"], ["pin"]])
def test_a_path_to_an_adapter_is_not_its_name(
    call: Call, folder: Path, words: list[str], name: str, capsys: Said
) -> None:
    assert call(*words, name) == 1
    assert f"there is no adapter {name}; there are base, a1, a2" in capsys.readouterr().err
    assert Registry(folder).state.quarantined == {}, "it would have protected from nothing"


def test_a_rollback_to_what_the_next_start_would_set_aside_changes_nothing(
    call: Call, folder: Path, capsys: Said
) -> None:
    manifest = folder / "adapters" / "a1" / "manifest.json"
    made = json.loads(manifest.read_text()) | {"base_digest": "of another base"}
    manifest.write_text(json.dumps(made))
    assert call("rollback", "--to", "a1") == 1
    assert "another base" in capsys.readouterr().err
    state = Registry(folder).state
    assert (state.active, state.quarantined) == ("a2", {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give folders away")
@pytest.mark.parametrize("words", [["pause"], ["purge", "--all"], ["fsck", "--repair"]])
def test_root_leaves_nothing_that_the_daemon_could_not_open(
    call: Call, folder: Path, capsys: Said, words: list[str]
) -> None:
    os.chown(folder, 12345, -1)
    assert call(*words) == 1
    assert "is 12345's, not root's: sudo -u 12345 acclimate" in capsys.readouterr().err
    assert not (folder / "daemon.json").exists()
    with only_one(folder, 0.0):
        pass
    call(*words)
    assert "not root's" not in capsys.readouterr().err, "a daemon of root's own was here"


def test_rollback(call: Call, folder: Path, capsys: Said) -> None:
    assert call("rollback", "--reason", "a2 sees no bikes") == 0
    assert capsys.readouterr().out == "a1 serves\n"
    state = Registry(folder).state
    assert (state.active, state.good) == ("a1", ["base", "a1"])
    assert state.quarantined == {"a2": "manual (a2 sees no bikes)"}
    (change,) = history(folder / "events.jsonl")
    assert (change["from"], change["to"], change["reason"]) == ("a2", "a1", "a2 sees no bikes")
    assert change["actor"].startswith("user ")
    assert change["actor"].endswith(" on disk")


def test_rollback_to_a_chosen_one(call: Call, folder: Path) -> None:
    assert call("adapters", "rollback", "--to", "base") == 0
    state = Registry(folder).state
    assert (state.active, list(state.quarantined), state.good) == ("base", ["a2"], ["base"])


def test_a_rollback_to_a_kept_adapter_is_taken_at_its_word(
    call: Call, folder: Path, tmp_path: Path
) -> None:
    Registry(folder).adopt("kept", bundle(tmp_path / "more", "kept"))
    assert call("rollback", "--to", "kept") == 0
    state = Registry(folder).state
    assert state.active == "kept"
    assert "kept" in state.good, "the next start must not set it aside"


def test_rollbacks_that_make_no_sense(call: Call, folder: Path, capsys: Said) -> None:
    assert call("rollback", "--to", "a2") == 1
    assert "serves already" in capsys.readouterr().err
    assert call("rollback") == 0
    assert call("rollback", "--to", "a2") == 1
    assert "quarantined: manual" in capsys.readouterr().err
    assert Registry(folder).state.active == "a1"


def test_quarantine(call: Call, folder: Path, capsys: Said) -> None:
    assert call("adapters", "quarantine", "a1") == 0
    assert Registry(folder).state.active == "a2"
    assert call("adapters", "quarantine", "a2") == 0, "it was active: back to what is left"
    assert capsys.readouterr().out.splitlines()[-1] == "a2 is quarantined, base serves"
    state = Registry(folder).state
    assert (state.active, list(state.quarantined)) == ("base", ["a1", "a2"])
    assert call("adapters", "quarantine", "base") == 1
    assert "fall back" in capsys.readouterr().err


def test_pause_and_resume(call: Call, folder: Path, capsys: Said) -> None:
    assert call("pause", "--for", "10m") == 0
    assert capsys.readouterr().out.startswith("paused for 10 min: ")
    assert (Registry(folder).state.paused or {})["seconds"] == 600
    assert call("resume") == 0
    assert Registry(folder).state.paused is None
    assert [e["event"] for e in read(folder / "events.jsonl")] == ["paused", "resumed"]


def test_pin(call: Call, folder: Path, capsys: Said) -> None:
    assert call("pin", "a1") == 0
    state = Registry(folder).state
    assert (state.active, state.pinned, state.quarantined) == ("a1", "a1", {})
    assert next(history(folder / "events.jsonl"))["to"] == "a1"
    assert call("pin", "--off") == 0
    assert Registry(folder).state.pinned is None
    capsys.readouterr()
    assert call("pin", "--off") == 0
    assert capsys.readouterr().out == "nothing was pinned\n"


@pytest.mark.parametrize(
    "words", [("rollback", "--to", "a7"), ("adapters", "quarantine", "a7"), ("pin", "a7")],
    ids=" ".join,
)  # fmt: skip
def test_an_unknown_adapter_names_those_there_are(
    call: Call, folder: Path, capsys: Said, words: tuple[str, ...]
) -> None:
    before = (folder / "state.json").read_bytes()
    assert call(*words) == 1
    assert capsys.readouterr().err == "error: there is no adapter a7; there are base, a1, a2\n"
    assert (folder / "state.json").read_bytes() == before


def test_the_quarantined_is_not_pinned(call: Call, folder: Path, capsys: Said) -> None:
    Registry(folder).quarantine("a1", "it went wrong")
    assert call("pin", "a1") == 1
    assert "a1 is quarantined: it went wrong" in capsys.readouterr().err


def test_no_round_without_a_daemon(call: Call, capsys: Said) -> None:
    assert call("adapt-now") == 1
    assert "no daemon runs here" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["pause"], ["resume"], ["rollback"], ["pin", "a"], ["events"], ["adapt-now"]],
    ids=" ".join,
)  # fmt: skip
def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, capsys: Said, words: list[str]
) -> None:
    assert main([*words, "--state", str(tmp_path / "nowhere")]) == 78
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("text", "span"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400)]
)
def test_spans(text: str, span: float) -> None:
    assert seconds(text) == span


@pytest.mark.parametrize("text", ["", "0", "-1m", "nan", "inf", "m", "1w", "2y", "9999d"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(ValueError, match=r"could not convert|not between"):
        seconds(text)


# ---- with a daemon


def test_everything_goes_by_the_socket(house: House, capsys: Said) -> None:
    house.drive(DAY)
    where = ["--state", str(house.folder)]
    steps: list[tuple[list[str], int, str]] = [
        (["pause", "--for", "1h", "--reason", "ferry"], 0, "paused for 60 min"),
        (["adapt-now"], 1, "error: no round now: paused"),
        (["resume"], 0, "rounds may start again"),
        (["adapt-now"], 0, "round a0001 has begun"),
        (["pin", "base"], 0, "base serves and is pinned"),
        (["pin", "--off"], 0, "base is pinned no more"),
        (["rollback"], 1, "error: base is what serves already"),
        (["adapters", "quarantine", "base"], 1, "error: the base cannot be quarantined"),
        (["adapters", "quarantine", "a7"], 1, "error: there is no adapter a7"),
    ]
    with listening(house, ControlConfig()):
        for words, code, said in steps:
            assert main([*words, *where]) == code, words
            told = capsys.readouterr()
            assert (told.err if code else told.out).startswith(said), words
    assert house.last("paused")["reason"] == "ferry"
    assert house.killed == ["a0001"], "a pin cancels the round"
