"""`acclimate vocab`: what is asked for, without a daemon, and with one that answers or does not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from acclimate.configs.vocabulary import (
    load_vocabulary,
    parse_classes,
    parse_vocabulary,
    without_concepts,
)
from acclimate.daemon import client
from acclimate.daemon import vocab as module
from acclimate.daemon import words as words_module
from acclimate.daemon.cli import main
from acclimate.daemon.client import Daemon
from acclimate.daemon.journal import history
from acclimate.daemon.main import only_one
from acclimate.daemon.registry import Registry
from acclimate.daemon.words import file_of, keep, read_kept, sweep
from acclimate.runtime.job import place_of

Said = pytest.CaptureFixture[str]
THREE = parse_classes("road,green=tree|bush,sky")
WORLD = load_vocabulary("world")


def vocab(state: Path, *words: str) -> int:
    return main(["vocab", *words, "--state", str(state)])


# ---- without a daemon


def test_words_are_set_on_disk_and_shown(state: Path, capfd: Said) -> None:
    assert vocab(state, "set", "--classes", "road,green=tree|bush,sky") == 0
    assert capfd.readouterr().out == "the next `acclimate run` looks for 3 classes (4 strings)\n"
    assert place_of(state, "base", THREE).ready
    registry = Registry(state)
    assert registry.state.words == {"key": THREE.key, "digest": THREE.digest, "over": WORLD.key}
    assert registry.may_serve("base")
    (change,) = history(state / "events.jsonl")
    assert (change["to"], change["reason"]) == ("base", "other words: 3 classes (4 strings)")
    assert vocab(state, "show") == 0
    head, *rows = capfd.readouterr().out.splitlines()
    assert head == "3 classes (4 strings), set by hand"
    assert [row.split() for row in rows] == [
        ["0", "road", "#800000", "road"], ["1", "green", "#008000", "tree", "|", "bush"],
        ["2", "sky", "#808000", "sky"],
    ]  # fmt: skip
    assert vocab(state, "show", "--yaml") == 0
    assert parse_vocabulary(yaml.safe_load(capfd.readouterr().out)) == THREE

    assert vocab(state, "set", "world") == 0
    assert Registry(state).state.words is None
    capfd.readouterr()
    assert vocab(state, "show") == 0
    shown = capfd.readouterr().out
    assert shown.startswith("14 classes (16 strings), as the configuration names them\n")


def test_names_without_their_concepts(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(module, "set_on_disk", lambda _, words: seen.append(words) or "done")
    assert vocab(state, "set", "camvid", "--no-concepts") == 0
    assert vocab(state, "set", "camvid") == 0
    camvid = load_vocabulary("camvid")
    assert seen == [without_concepts(camvid), camvid]


@pytest.mark.parametrize(
    "words",
    [["set"], ["set", "world", "--classes", "a,b"], ["set", "--classes"], ["shout"], []],
    ids=" ".join,
)
def test_wrong_usage_is_2(state: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        vocab(state, *words)
    assert left.value.code == 2


def test_every_problem_of_the_words_is_told_at_once(state: Path, capsys: Said) -> None:
    before = sorted(state.rglob("*"))
    assert vocab(state, "set", "--classes", "road,road,a|a") == 78
    said = capsys.readouterr().err.splitlines()
    assert len(said) > 1
    assert all(line.startswith("error: ") for line in said)
    assert vocab(state, "set", "no/such/words.yaml") == 78
    assert "no/such/words.yaml" in capsys.readouterr().err
    assert sorted(state.rglob("*")) == before


def test_a_folder_where_nothing_ran_is_named(tmp_path: Path, capsys: Said) -> None:
    for words in (["set", "world"], ["show"]):
        assert vocab(tmp_path / "none", *words) == 78
        assert "acclimate run" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    (tmp_path / "empty").mkdir()
    assert vocab(tmp_path / "empty", "set", "world") == 78
    assert "never prepared" in capsys.readouterr().err


def test_refusals_on_disk_change_nothing(
    state: Path, capfd: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    for classes, complaint in (
        (",".join(f"thing {i}" for i in range(65)), "65 strings need another engine"),
        ("road,forklift", "error: the base's text tower never learned 'forklift'"),
    ):
        assert vocab(state, "set", "--classes", classes) == 1
        assert complaint in capfd.readouterr().err
    monkeypatch.setattr(words_module, "can_adapt", lambda: False)
    assert vocab(state, "set", "--classes", "road,sky") == 1
    assert "acclimate[adapt]" in capfd.readouterr().err
    assert Registry(state).state.words is None


def test_kept_words_that_are_gone_are_named(state: Path, capsys: Said) -> None:
    Registry(state).reword({"key": "gone", "digest": "d", "over": "o"})
    assert vocab(state, "show") == 78
    assert "gone.yaml is unreadable" in capsys.readouterr().err


# ---- with a daemon


class Scripted(Daemon):
    """Answers one after the other."""

    def __init__(self, *answers: dict[str, str]) -> None:
        self.answers, self.asked = list(answers), list[tuple[str, str]]()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        self.asked.append((method, path))
        if body is not None:
            assert parse_vocabulary(body["vocabulary"]) == THREE
        return {"id": "7", **self.answers.pop(0)}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Scripted]]:
    """`acclimate vocab set` of THREE where a daemon gives these answers."""

    def run(*answers: dict[str, str]) -> tuple[int, Scripted]:
        daemon = Scripted(*answers)
        monkeypatch.setattr(module, "PAUSE", 0.01)
        monkeypatch.setattr(module, "holder_of", lambda _: contextlib.nullcontext(daemon))
        return vocab(tmp_path, "set", "--classes", "road,green=tree|bush,sky"), daemon

    return run


def test_the_daemons_answer_is_waited_for(asked: Any, capsys: Said) -> None:
    code, daemon = asked(
        {"state": "working", "message": "embedding"}, {"state": "working", "message": "embedding"},
        {"state": "done", "message": "now looking for 3 classes"},
    )  # fmt: skip
    assert code == 0
    assert daemon.asked == [("POST", "/v1/vocabulary"), *[("GET", "/v1/vocabulary/7")] * 2]
    said = capsys.readouterr()
    assert (said.out, said.err) == ("now looking for 3 classes\n", "embedding ...\n")


def test_its_refusal_is_an_error(asked: Any, capsys: Said) -> None:
    assert asked({"state": "refused", "message": "too many"})[0] == 1
    assert capsys.readouterr().err == "error: refused, the old words serve on: too many\n"


def test_a_daemon_that_does_not_answer_is_told_on(
    tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.05)
    with only_one(tmp_path):
        assert vocab(tmp_path, "set", "--classes", "road,sky") == 1
    assert "does not answer" in capsys.readouterr().err


# ---- kept vocabularies


def test_kept_words_are_whole_or_none(tmp_path: Path) -> None:
    path = keep(tmp_path, THREE)
    assert path == file_of(tmp_path, THREE.key)
    assert read_kept(tmp_path, THREE.key) == THREE
    written = path.stat().st_mtime_ns
    keep(tmp_path, THREE)
    assert path.stat().st_mtime_ns == written
    for rotten in ("", "classes: [", "classes: [{name: a}, {name: b}]\n"):
        path.write_text(rotten)
        assert read_kept(tmp_path, THREE.key) is None
    keep(tmp_path, THREE)
    assert read_kept(tmp_path, THREE.key) == THREE


def test_only_what_serves_is_kept_for_long(tmp_path: Path) -> None:
    for words in (THREE, WORLD):
        keep(tmp_path, words)
    (tmp_path / "vocabularies" / "torn.yaml.tmp").touch()
    sweep(tmp_path, WORLD)
    assert list((tmp_path / "vocabularies").iterdir()) == [file_of(tmp_path, WORLD.key)]


def test_an_engine_that_does_not_say_what_it_takes_is_left_to_the_runtime(tmp_path: Path) -> None:
    words_module.check_engine(tmp_path, WORLD)
    (tmp_path / "engine").mkdir()
    for content in ("{", "{}", json.dumps({"strings": 7})):
        (tmp_path / "engine" / "engine.json").write_text(content)
        words_module.check_engine(tmp_path, WORLD)
