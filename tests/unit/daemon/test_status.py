"""What people read."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acclimate import daemon
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.daemon.http import Window
from acclimate.daemon.main import only_one
from acclimate.daemon.registry import Registry
from acclimate.daemon.status import (
    _SENTENCES,
    dated,
    doing,
    ledger_line,
    read_status,
    sentence,
    snapshot,
    table,
)
from tests.unit.daemon.test_registry import bundle

WORDS = load_vocabulary("world")
ENGINE = {"engine": "onnxruntime-cpu", "precision": "fp32", "reason": "there is no CUDA device"}
LEDGER = {"captured": 5, "served": 3, "dropped": {"superseded": 2}, "balanced": True}


def life(tmp_path: Path, **changes: Any) -> Any:
    """A lifecycle as far as the status looks at it."""
    stream = {key: changes.pop(key, default) for key, default in (("last", {}), ("ratio", None))}
    stream["alarm"] = changes.pop("alarm", False)
    rounds = SimpleNamespace(now=changes.pop("round", None), waiting=changes.pop("waiting", None))
    return SimpleNamespace(**{
        "registry": Registry(tmp_path), "stream": SimpleNamespace(**stream), "trouble": None,
        "rounds": rounds, "swapping": None,
        "rewording": SimpleNamespace(served=WORDS, now=changes.pop("change", None), answers={}),
        "shadow": SimpleNamespace(now=changes.pop("shadow", None), last={}),
        "reload": SimpleNamespace(loading=False), "probation": None,
        "serving": SimpleNamespace(ledger=LEDGER), "engine": ENGINE, **changes,
    })  # fmt: skip


def test_before_the_first_frame(tmp_path: Path) -> None:
    status = snapshot(life(tmp_path))
    assert (status["source"], status["drift"], status["confidence"]) == ("connecting", None, None)
    assert (status["active"], status["doing"], status["good"]) == ("base", "serving", ["base"])


def test_the_card_of_what_serves_is_told(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    card = {"over": "base", "gain": 2.0, "low": 1.5, "high": 2.55, "confidence": 0.9}
    folder = bundle(tmp_path / "adapters", "a1")
    made = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**made, "card": card}))
    registry.activate("a1")
    told = "+2.00 [+1.50, +2.55] mIoU over base, estimated without labels of the stream"
    assert snapshot(life(tmp_path))["earned"] == told
    ended = {"event": "round_ended", "t": 1.0, "id": "a1", "verdict": "instead", "seconds": 9.0,
             "reasons": ["too little"], "card": card}  # fmt: skip
    line = sentence(ended)
    assert line is not None
    assert told in line
    assert "found better" in line
    (folder / "manifest.json").write_text(json.dumps({**made, "card": {"over": "base"}}))
    assert snapshot(life(tmp_path))["earned"] is None


def test_a_snapshot_is_json(tmp_path: Path) -> None:
    last = {
        "confidence": [0.9, 0.8, 0.1], "source": "live", "video_time": 4.0,
        "buffer": {"entries": 3}, "trouble": "the buffer cannot be written",
    }  # fmt: skip
    status = json.loads(json.dumps(snapshot(life(tmp_path, last=last, ratio=1.23456))))
    assert (status["confidence"], status["drift"], status["source"]) == (0.9, 1.235, "live")
    assert status["trouble"] == "the buffer cannot be written"
    assert (status["frames"], status["engine"]) == (LEDGER, ENGINE)
    assert status["vocabulary"] == {"classes": 14, "strings": 16, "key": WORDS.key}


def test_what_is_under_way_in_words(tmp_path: Path) -> None:
    round_ = SimpleNamespace(id="a0004", step=7, settings=SimpleNamespace(steps=40))
    assert doing(life(tmp_path, round=round_)) == "round a0004: step 7 of 40"
    swapping = ("a0004", "accepted", 1.0)
    assert doing(life(tmp_path, swapping=swapping)) == "swapping to a0004 (accepted)"
    assert doing(life(tmp_path, probation=object())) == "probation"
    change = SimpleNamespace(words=WORDS)
    assert doing(life(tmp_path, change=change)) == "getting 14 classes (16 strings) ready"


def test_an_alarm_and_what_it_waits_for_are_told(tmp_path: Path) -> None:
    assert snapshot(life(tmp_path))["alarm"] is None
    assert snapshot(life(tmp_path, alarm=True))["alarm"] == "on"
    assert snapshot(life(tmp_path, alarm=True, waiting="parked"))["alarm"] == "on; waits: parked"


def test_a_running_daemon_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    told = {"pid": 1, "active": "a0007"}
    window = Window("127.0.0.1", 0, tmp_path, lambda: told, bytes)
    address = f"http://127.0.0.1:{window.port}"
    note = tmp_path / "daemon.json"
    note.write_text(json.dumps({"pid": 1, "http": address}))
    try:
        assert read_status(tmp_path) == {"daemon": address, **told}
        note.write_text(json.dumps({"pid": 2, "http": address}))
        assert read_status(tmp_path)["daemon"] is None, "another one has its port by now"
    finally:
        window.close()
    assert read_status(tmp_path)["daemon"] is None, "it is gone, its note is still there"


def test_a_daemon_that_could_leave_no_note_is_asked_where_it_should_be(tmp_path: Path) -> None:
    folder = {"folder": str(tmp_path.resolve())}
    window = Window("127.0.0.1", 0, tmp_path, lambda: {"active": "a0007", **folder}, bytes)
    listens = {"daemon": {"http_host": "127.0.0.1", "http_port": window.port}}
    (tmp_path / "config.json").write_text(json.dumps(listens))
    try:
        with only_one(tmp_path):
            assert read_status(tmp_path)["active"] == "a0007"
            folder["folder"] = "/elsewhere"
            assert read_status(tmp_path)["daemon"] is None, "that is another folder's"
        folder["folder"] = str(tmp_path.resolve())
        assert read_status(tmp_path)["daemon"] is None, "nobody holds this one"
    finally:
        window.close()


def test_a_daemon_that_starts_or_hangs_is_told(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text(json.dumps({"pid": os.getpid()}))
    assert str(os.getpid()) in read_status(tmp_path)["doing"]


def test_something_else_that_answers_there_is_no_daemon(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        note = {"pid": 1, "http": f"http://127.0.0.1:{other.getsockname()[1]}"}
        (tmp_path / "daemon.json").write_text(json.dumps(note))

        def greet() -> None:
            line, _ = other.accept()
            line.sendall(b"220 mail.example ESMTP\r\n")
            line.close()

        greeting = threading.Thread(target=greet, daemon=True)
        greeting.start()
        assert read_status(tmp_path)["daemon"] is None
        greeting.join()


@pytest.mark.parametrize("note", [None, "", "{", "{}", '{"http": 7}', '{"http": "nonsense"}'])
def test_without_a_daemon_the_disk_is_read(tmp_path: Path, note: str | None) -> None:
    Registry(tmp_path).trust("a0001")
    if note is not None:
        (tmp_path / "daemon.json").write_text(note)
    assert read_status(tmp_path) == {
        "daemon": None, "doing": "nothing", "active": "base", "previous": None,
        "good": ["base", "a0001"], "quarantined": {}, "paused": None, "pinned": None,
    }  # fmt: skip


def test_a_table_has_a_row_for_everything() -> None:
    text = table({
        "active": "base", "video_time": None, "drift": 1.23456, "good": [], "frames": LEDGER,
    })  # fmt: skip
    assert [line.split(maxsplit=1)[0] for line in text.splitlines()] == [
        "active", "video", "drift", "good", "frames",
    ]  # fmt: skip
    assert "video time  -" in text
    assert "1.23" in text
    assert "none" in text
    assert "dropped superseded 2" in text


def test_a_ledger_is_a_sum() -> None:
    assert ledger_line(LEDGER) == "5 captured = 3 served + 2 superseded"
    unbalanced = {"captured": 5, "served": 3, "dropped": {}, "balanced": False}
    assert ledger_line(unbalanced) == "5 captured is not 3 served + 0 dropped"


def test_events_are_sentences() -> None:
    event = {"event": "rolled_back", "t": 12.34, "id": "a2", "to": "a1", "reason": "manual"}
    assert sentence(event) == "   12.3 s  rolling a2 back to a1: manual"
    ended = {
        "event": "round_ended", "t": 1.0, "id": "a2", "verdict": "refused", "seconds": 24.96,
        "reasons": ["agreement 0.2", "histogram_js 0.9"],
    }  # fmt: skip
    assert sentence(ended) == (
        "    1.0 s  round a2 refused after 25.0 s: agreement 0.2; histogram_js 0.9"
    )
    assert sentence({**ended, "verdict": "accepted", "reasons": []}).endswith("after 25.0 s")  # type: ignore[union-attr]
    assert sentence({"event": "news", "t": 1.0}) is None


def test_every_event_has_a_sentence() -> None:
    sources = [path.read_text() for path in Path(daemon.__path__[0]).glob("*.py")]
    written = set(re.findall(r'events\.write\(\s*"(\w+)"', "".join(sources)))
    assert len(written) > 12
    assert written | {"log_repaired"} == _SENTENCES.keys(), "that one is written by `append`"


def test_an_event_nested_deep_is_told_without_its_depth() -> None:
    row = json.loads('{"event": "odd", "x":' + '{"a":' * 600 + "1" + "}" * 601)
    assert "odd: nested too deep" in dated(row)
