"""The whole life of a daemon whose serving process is a small script."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.schema import Config, ModelConfig, parse_config
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.daemon import child as child_module
from acclimate.daemon import main as module
from acclimate.daemon.lifecycle import Lifecycle
from acclimate.daemon.main import announce, only_one, prepare, run, with_source
from acclimate.daemon.registry import Registry
from acclimate.daemon.words import file_of
from acclimate.errors import ConfigError, EngineError, ExportError
from acclimate.runtime.retention import LOST
from tests.unit.daemon.test_registry import bundle

CONFIG = parse_config({"daemon": {"http_port": 0, "max_restarts": 2, "stop_timeout_s": 20}})
RUNTIME = """
import json, signal, sys, time
def say(event, **rest): print(json.dumps({"event": event, **rest}), flush=True)
def books(n): return {"captured": n, "served": n, "dropped": {}, "balanced": True}
def done(reason, n=4): say("done", ledger=books(n), reason=reason); sys.exit(0)
signal.signal(signal.SIGTERM, lambda *_: done("stopped"))
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
say("ready", active=options["--bundle"], engine="onnxruntime-cpu", precision="fp32",
    reason="there is no CUDA device")
say("stats", **books(4), frames=4, latency_ms=[5.0], confidence=[0.9, 0.8, 0.1], source="live",
    histogram=[0.5, 0.5], embedding=[0.0, 0.0], video_time=1.0, active="base", trouble=None,
    buffer={"entries": 0, "bytes": 0, "admitted": 0})
"""
UNTIL_TOLD = RUNTIME + "time.sleep(60)"
Play = Callable[[str], None]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with a base that looks like one."""
    bundle(tmp_path / "state" / "adapters", "base", 0)
    return tmp_path / "state"


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Let a piece of Python take the place of the serving process."""
    monkeypatch.setattr(module, "prepare", lambda _, state, __: state / "config.json")

    def play_one(code: str) -> None:
        start = [sys.executable, "-S", "-c", code]
        monkeypatch.setattr(child_module, "command", lambda _, rest: [*start, *rest])

    return play_one


def events(state: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (state / "events.jsonl").read_text().splitlines()]


def test_it_ends_with_the_source_and_with_balanced_books(state: Path, play: Play) -> None:
    play(RUNTIME + 'done("ended", 7)')
    told: list[dict[str, Any]] = []
    last = run(CONFIG, state, listener=told.append)
    assert last["frames"] == {"captured": 7, "served": 7, "dropped": {}, "balanced": True}
    assert [event["event"] for event in told] == ["started", "serving", "stopped"]
    assert told[-1]["reason"] == "ended"
    assert told[-1]["ledger"] == last["frames"]
    assert events(state) == told


def test_a_rotten_truth_does_not_keep_it_from_serving(state: Path, play: Play) -> None:
    """It is made anew, as fsck would, and the old one is kept."""
    play(RUNTIME + 'done("ended", 7)')
    Registry(state).quarantine("a1", "no good")
    log = [{"event": "quarantined", "t": 1.0, "time": 1.0, "id": "a1", "reason": "no good"}]
    (state / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    truth = (state / "state.json").read_text().replace("no good", "so good")
    (state / "state.json").write_text(truth)
    told: list[dict[str, Any]] = []
    last = run(CONFIG, state, listener=told.append)
    assert (last["frames"]["served"], last["quarantined"]) == (7, {"a1": "no good"})
    (event,) = [one for one in told if one["event"] == "truth_rebuilt"]
    assert "its content is not what was written" in event["reason"]
    assert [path.read_text() for path in (state / LOST).glob("state.json*")] == [truth]


def test_it_can_be_asked_while_it_runs_and_told_to_stop(state: Path, play: Play) -> None:
    play(UNTIL_TOLD)
    stop, seen = threading.Event(), {}

    def hook(life: Lifecycle) -> None:
        if not life.stream.last:
            return
        note = json.loads((state / "daemon.json").read_text())
        for path in ("status", "metrics"):
            with urllib.request.urlopen(f"{note['http']}/{path}", timeout=5) as answer:
                seen[path] = answer.read()
        stop.set()

    last = run(CONFIG, state, hook=hook, stop=stop)
    assert json.loads(seen["status"])["frames"]["served"] == 4
    assert b'acclimate_active_adapter_info{adapter="base"} 1.0' in seen["metrics"]
    assert last["frames"]["balanced"]
    assert events(state)[-1]["reason"] == "stopped"
    assert (state / "daemon.json").read_text() == "", "nobody is there any more"


def test_a_crash_is_survived_and_the_books_balance(state: Path, play: Play) -> None:
    once = "import os, pathlib\nflag = pathlib.Path(options['--state']) / 'crashed'\n"
    play(RUNTIME + once + "if not flag.exists(): flag.touch(); os.kill(os.getpid(), 9)\n"
         'done("ended", 5)')  # fmt: skip
    last = run(CONFIG, state)
    assert last["frames"] == {"captured": 9, "served": 9, "dropped": {}, "balanced": True}
    kinds = [event["event"] for event in events(state)]
    assert kinds == ["started", "serving", "runtime_died", "serving", "stopped"]


def test_even_a_daemon_that_gives_up_leaves_its_books(state: Path, play: Play) -> None:
    play(RUNTIME + 'say("error", message="no such film", fatal=True); sys.exit(1)')
    with pytest.raises(EngineError, match="died 2 times"):
        run(CONFIG, state)
    last = events(state)[-1]
    assert (last["event"], last["reason"]) == ("stopped", "no such film")
    assert last["ledger"]["balanced"]
    with only_one(state):
        pass


def test_the_arguments_of_the_serving_process(state: Path, tmp_path: Path, play: Play) -> None:
    play(RUNTIME + 'say("error", message=json.dumps(options)); done("ended")')
    told: list[dict[str, Any]] = []
    run(CONFIG, state, tmp_path / "out", 0.0, told.append)
    said = [event["message"] for event in told if event["event"] == "runtime_error"]
    assert json.loads(said[0]) == {
        "--state": str(state), "--bundle": "base", "--config": str(state / "config.json"),
        "--out": str(tmp_path / "out"), "--duration": "0.0",
        "--vocabulary": str(file_of(state, load_vocabulary("world").key)),
    }  # fmt: skip


def test_a_taken_port_is_named_before_anything_starts(state: Path, play: Play) -> None:
    play(UNTIL_TOLD)
    with pytest.raises(ConfigError, match="http_port"):
        run(parse_config({"daemon": {"http_port": 99999}}), state)


def test_an_export_that_fails_is_an_export_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = [sys.executable, "-S", "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(module, "command", lambda *_: fail)
    with pytest.raises(ExportError, match=r"state \(exit code 3\)"):
        run(CONFIG, tmp_path / "state")


def test_while_it_prepares_it_says_who_it_is(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def prepared(*_: object) -> Path:
        seen.append((state / "daemon.json").read_text())
        raise ExportError("enough")

    monkeypatch.setattr(module, "prepare", prepared)
    with pytest.raises(ExportError, match="enough"):
        run(CONFIG, state)
    assert json.loads(seen[0]) == {"pid": os.getpid()}


def test_preparing_leaves_the_resolved_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "command", lambda *_: [sys.executable, "-S", "-c", ""])
    path = prepare(CONFIG, tmp_path / "new" / "state")
    assert parse_config(json.loads(path.read_text())) == CONFIG


def test_one_daemon_a_folder(tmp_path: Path) -> None:
    refused = pytest.raises(ConfigError, match="another acclimate")
    with only_one(tmp_path), refused, only_one(tmp_path):
        pass
    with only_one(tmp_path), only_one(tmp_path / "other"):
        pass


def test_a_daemon_waits_for_a_command_that_holds_the_folder(tmp_path: Path) -> None:
    with contextlib.ExitStack() as command:
        command.enter_context(only_one(tmp_path))
        with only_one(tmp_path, 60.0, command.close):
            pass


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1"), ("cam1", "cam1")],
)
def test_the_announced_address_can_be_opened(tmp_path: Path, host: str, address: str) -> None:
    announce(tmp_path / "daemon.json", host, 9109)
    note = json.loads((tmp_path / "daemon.json").read_text())
    assert note["http"] == f"http://{address}:9109"


def test_another_source_changes_nothing_else() -> None:
    assert with_source(CONFIG, None) is CONFIG
    changed = with_source(CONFIG, "film.mp4")
    assert changed.source.url == "film.mp4"
    assert with_source(changed, Config().source.url) == CONFIG


def test_a_source_without_a_name_is_a_wrong_configuration() -> None:
    with pytest.raises(ConfigError, match=r"source\.url: must not be empty"):
        with_source(CONFIG, "")


def test_without_torch_other_words_cannot_be_served(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "can_adapt", lambda: False)
    before = (prepared / "config.json").read_bytes()
    with pytest.raises(ExportError, match="another vocabulary than camvid"):
        prepare(Config(model=ModelConfig(vocabulary="camvid")), prepared)
    assert (prepared / "config.json").read_bytes() == before
