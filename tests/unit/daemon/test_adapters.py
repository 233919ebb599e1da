"""What `acclimate adapters` shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acclimate.daemon.cli import main
from acclimate.daemon.events import EventLog
from acclimate.daemon.registry import Registry

Said = pytest.CaptureFixture[str]
MADE: dict[str, Any] = {
    "parent": "base", "kind": "adapter", "created": 1.7e9, "vocabulary_digest": "v" * 64,
    "training": {"steps": 60, "seconds": 31.25, "frames": ["0000000001-abc"], "losses": [1, 2]},
    "buffer": {"frames": 24, "digest": "f" * 64},
    "verdict": {"accepted": True, "reasons": [], "numbers": {"agreement": 0.99512, "gain": 2.0}},
    "card": {"over": "base", "gain": 2.1, "low": 0.9, "high": 3.2, "confidence": 0.9},
    "files": {"inputs.safetensors": "1" * 64, "probe.safetensors": "2" * 64},
}  # fmt: skip


@pytest.fixture
def folder(folder: Path) -> Path:
    """The one of all these tests; a1 has a whole manifest."""
    path = folder / "adapters" / "a1" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | MADE))
    return folder


@pytest.fixture
def call(folder: Path) -> Callable[..., int]:
    """`acclimate adapters ...` on the folder."""
    return lambda *words: main(["adapters", *words, "--state", str(folder)])


def test_the_list_says_who_is_what(call: Callable[..., int], capsys: Said) -> None:
    assert call("list") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["adapter", "state", "parent", "made", "earned"]
    rows = [line.split()[:2] for line in lines]
    assert rows == [["base", "good"], ["a1", "previous"], ["a2", "active"]]


def test_show_for_programs(call: Callable[..., int], capsys: Said, folder: Path) -> None:
    assert call("show", "a1", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["sequence"]) == ("previous", 1)
    assert "condition" not in shown
    Registry(folder).quarantine("a1", "it went wrong")
    assert call("show", "a1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["reason"] == "it went wrong"


def test_the_card(call: Callable[..., int], capsys: Said, folder: Path) -> None:
    Registry(folder).quarantine("a1", "it went wrong")
    assert call("show", "a1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 96 for line in lines)
    said = " ".join(" ".join(lines).split())
    for words in (
        "a1, adapter", "quarantined: it went wrong", "parent base", "+2.10 [+0.90, +3.20] mIoU",
        "steps 60", "24 of the buffer", "f" * 64, "agreement 0.9951", "gate accepted",
        "sha256 1111111111111111 inputs.safetensors",
        "v" * 64,
    ):  # fmt: skip
        assert words in said, words


def test_a_card_of_little(call: Callable[..., int], capsys: Said) -> None:
    assert call("show", "base") == 0
    assert "earned" in capsys.readouterr().out


def test_a_card_says_what_was_not_learned(
    call: Callable[..., int], capsys: Said, folder: Path
) -> None:
    path = folder / "adapters" / "a1" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"is": "base, normalised"}))
    assert call("show", "a1") == 0
    assert "nothing was learned: base, normalised was best" in capsys.readouterr().out


def test_an_unknown_adapter_names_those_there_are(call: Callable[..., int], capsys: Said) -> None:
    assert call("show", "a7") == 1
    assert capsys.readouterr().err == "error: there is no adapter a7; there are base, a1, a2\n"


def test_the_history(call: Callable[..., int], capsys: Said, folder: Path) -> None:
    assert call("history") == 0
    assert capsys.readouterr().out == "what serves was never changed\n"
    log = EventLog(folder / "events.jsonl", lambda _: None)
    log.write("started", http="x")
    for actor, before, now in (("gate", "base", "a1"), ("user anna via socket", "a1", "base")):
        log.write("served", actor=actor, **{"from": before}, to=now, reason="because")
    log.write("served", actor="torn")
    assert call("history") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["time", "actor", "from", "to", "reason"]
    assert [row.split()[2:] for row in rows] == [
        ["gate", "base", "a1", "because"],
        ["user", "anna", "via", "socket", "a1", "base", "because"],
    ]
    assert call("history", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["actor"] == "gate"
