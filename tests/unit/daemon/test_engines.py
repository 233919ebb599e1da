"""`acclimate export` and `acclimate engines`: options become a configuration, work a process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.schema import Config, parse_config, to_dict
from acclimate.daemon import engines as module
from acclimate.daemon import main as daemon
from acclimate.daemon.cli import main
from acclimate.daemon.main import only_one
from acclimate.daemon.processes import command
from acclimate.errors import ExportError

Said = pytest.CaptureFixture[str]


class Prepares:
    """In place of the exporting process: what it was asked for; `writes` leaves an engine."""

    def __init__(self, writes: bool = True) -> None:
        self.asked: list[Config] = []
        self._writes = writes

    def __call__(self, config: Config, state: Path) -> Path:
        self.asked.append(config)
        if self._writes:
            (state / "engine").mkdir(parents=True, exist_ok=True)
            (state / "engine" / "engine.json").write_text(str(len(self.asked)))
        return state / "config.json"


@pytest.fixture
def prepares(monkeypatch: pytest.MonkeyPatch) -> Prepares:
    stand_in = Prepares()
    monkeypatch.setattr(module, "prepare", stand_in)
    return stand_in


def stored(state: Path, **serving: Any) -> None:
    raw = to_dict(Config())
    state.mkdir(exist_ok=True)
    content = raw | {"serving": raw["serving"] | serving}
    (state / "config.json").write_text(json.dumps(content))


def test_export_takes_the_options_over_the_file(tmp_path: Path, prepares: Prepares) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("serving: {size: [96, 128], precision: int8, engine: onnxruntime-cpu}\n")
    where = ["--config", str(path), "--state", str(tmp_path / "state")]
    assert main(["export", *where, "--capacity", "64"]) == 0
    assert main(["export", *where, "--engine", "tensorrt-rtx", "--precision", "bf16"]) == 0
    one, two = (config.serving for config in prepares.asked)
    assert (one.size, one.engine, one.precision, one.capacity) == (
        (96, 128), "onnxruntime-cpu", "int8", 64,
    )  # fmt: skip
    assert (two.size, two.engine, two.precision, two.capacity) == (
        (96, 128), "tensorrt-rtx", "bf16", 256,
    )  # fmt: skip


def test_export_goes_on_from_what_was_prepared(tmp_path: Path, prepares: Prepares) -> None:
    stored(tmp_path, size=[96, 128], engine="onnxruntime-cpu", precision="int8")
    assert main(["export", "--state", str(tmp_path)]) == 0
    assert main(["export", "--state", str(tmp_path), "--engine", "auto"]) == 0
    same, other = (config.serving for config in prepares.asked)
    assert (same.size, same.engine, same.precision) == ((96, 128), "onnxruntime-cpu", "int8")
    assert (other.size, other.engine, other.precision) == ((96, 128), "auto", "auto")


def test_export_says_when_there_was_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.setattr(module, "prepare", Prepares(writes=False))
    assert main(["export", "--state", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said == f"nothing to do: all that this configuration needs is in {tmp_path}\n"


def test_export_is_silent_when_it_did_something(
    tmp_path: Path, prepares: Prepares, capsys: Said
) -> None:
    assert main(["export", "--state", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--capacity", "0"], 78, "serving.capacity: 0 must be greater than 0"),
        (["--capacity", "-3"], 78, "serving.capacity: -3 must be greater than 0"),
        (["--config", "no/such.yaml"], 78, "cannot read no/such.yaml"),
    ],
)
def test_export_names_what_is_wrong(
    tmp_path: Path, prepares: Prepares, capsys: Said, options: list[str], code: int, told: str
) -> None:
    assert main(["export", "--state", str(tmp_path), *options]) == code
    assert told in capsys.readouterr().err
    assert prepares.asked == []


def test_a_torn_configuration_is_told(tmp_path: Path, prepares: Prepares, capsys: Said) -> None:
    (tmp_path / "config.json").write_text("{")
    assert main(["export", "--state", str(tmp_path)]) == 78
    assert "config.json is torn" in capsys.readouterr().err


def test_export_waits_for_no_daemon(tmp_path: Path, prepares: Prepares, capsys: Said) -> None:
    with only_one(tmp_path):
        assert main(["export", "--state", str(tmp_path)]) == 1
    assert "another acclimate runs" in capsys.readouterr().err
    assert prepares.asked == []


class Runs:
    """In place of `subprocess.run` and `wait_for`: the command lines it got."""

    def __init__(self, code: int = 0) -> None:
        self.lines: list[list[str]] = []
        self.returncode = code

    def __call__(self, line: list[str], **_: Any) -> Runs:
        self.lines.append(line)
        return self

    def wait_for(self, line: list[str], *_: Any) -> int:
        return self(line).returncode


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        (["list"], ["list"]),
        (["verify", "--json"], ["verify", "--json"]),
        (["prune", "--all", "--json"], ["prune", "--json", "--all"]),
    ],
)
def test_engines_is_the_work_of_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], passed: list[str]
) -> None:
    runs = Runs(code=1)
    monkeypatch.setattr(module.subprocess, "run", runs)
    assert main(["engines", *words, "--state", str(tmp_path)]) == 1
    assert runs.lines == [command("engines", [passed[0], "--state", str(tmp_path), *passed[1:]])]


def test_where_torch_is_not_installed_the_graph_is_built_from(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs()
    monkeypatch.setattr(daemon, "can_adapt", lambda: False)
    monkeypatch.setattr(daemon, "wait_for", runs.wait_for)
    config = parse_config({"serving": {"engine": "tensorrt-rtx", "capacity": 64}})
    path = daemon.prepare(config, state)
    assert parse_config(json.loads(path.read_text())) == config
    options = ["--engine", "tensorrt-rtx", "--precision", "auto", "--capacity", "64"]
    assert runs.lines == [command("build", [*options, "--state", str(state)])]


def test_a_failed_export_leaves_the_configuration(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (state / "config.json").read_bytes()
    monkeypatch.setattr(daemon, "wait_for", Runs(code=1).wait_for)
    with pytest.raises(ExportError, match="could not be prepared"):
        daemon.prepare(parse_config({"serving": {"engine": "tensorrt"}}), state)
    assert (state / "config.json").read_bytes() == before
    assert not (state / "config.wanted.json").exists()
