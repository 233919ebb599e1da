"""What fsck finds, says and mends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acclimate.daemon.cli import main
from acclimate.daemon.events import EventLog, read
from acclimate.daemon.main import only_one
from acclimate.daemon.registry import Registry
from acclimate.runtime.keys import new_secret
from acclimate.runtime.vault import Vault
from benchmarks.crash_story import Life, few_kept, first_state

Said = pytest.CaptureFixture[str]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """base <- two good ones, the second active; one was learned, one is quarantined."""
    with few_kept():
        life = Life(first_state(tmp_path / "state"), 0)
        for action in ("good", "good", "bad", "learn"):
            before = life.registry.state.active
            getattr(life, action)()
            life.event()
            story = {"id": life.registry.state.active}
            if action == "good":
                life.log.write("swapped", since=before, **story)
                life.log.write("probation_passed", **story)
        (bad,) = life.registry.state.quarantined
        life.log.write("rolled_back", id=bad, to=life.registry.state.active, reason="it went wrong")
        yield life.state


def fsck(state: Path, capsys: Said, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and problems."""
    capsys.readouterr()
    code = main(["fsck", "--state", str(state), "--json", *words])
    return code, json.loads(capsys.readouterr().out)["problems"]


def tree(state: Path) -> dict[str, bytes]:
    return {str(p.relative_to(state)): p.read_bytes() for p in state.rglob("*") if p.is_file()}


def actives(state: Path) -> tuple[str, str, str]:
    """The active adapter, the good one before it, the quarantined one."""
    truth = Registry(state).state
    (bad,) = truth.quarantined
    return truth.active, truth.good[-2], bad


def test_a_whole_folder_is_clean_and_untouched(state: Path, capsys: Said) -> None:
    before = tree(state)
    assert fsck(state, capsys) == (0, [])
    assert main(["fsck", "--state", str(state)]) == 0
    assert "is whole" in capsys.readouterr().out
    assert tree(state) == before


def rot(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3] + b"rot")


DAMAGE: dict[str, Callable[[Path], None]] = {
    "learned": lambda s: rot(s / "learned" / "inputs.safetensors"),
    "leftover": lambda s: (s / "adapters" / "a9999.tmp").mkdir(),
    "frame": lambda s: _written(s / "buffer" / "0000000001-00ff00ff00ff00ff.npz", b"no frame"),
    "config": lambda s: _written(s / "config.json", b"{"),
    "vocabulary": lambda s: _written(s / "vocabularies" / "abc.yaml", b"classes: ["),
    "events": lambda s: _written(
        s / "events.jsonl", b'{"half\n' + (s / "events.jsonl").read_bytes()
    ),
    "words": lambda s: (s / "words" / "0" / "a1").mkdir(parents=True),
}  # fmt: skip


def _written(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_mended_and_nothing_is_deleted(
    state: Path, capsys: Said, kind: str
) -> None:
    DAMAGE[kind](state)
    before = tree(state)
    code, found = fsck(state, capsys)
    assert (code, [one["kind"] for one in found]) == (1, [kind])
    assert tree(state) == before, "looking changes nothing"
    code, found = fsck(state, capsys, "--repair")
    assert (code, [one["left"] for one in found]) == (0, [False])
    assert fsck(state, capsys) == (0, [])
    contents = list(tree(state).values())
    assert all(content in contents for content in before.values())
    assert (state / "lost+found").is_dir()


def test_a_rotten_active_adapter_is_replaced_by_the_way_back(state: Path, capsys: Said) -> None:
    active, good, _ = actives(state)
    sequence = Registry(state).state.sequence
    rot(state / "adapters" / active / "inputs.safetensors")
    code, found = fsck(state, capsys, "--repair")
    assert code == 0
    assert found[0]["kind"] == "adapter"
    assert "inputs.safetensors" in found[0]["what"]
    truth = Registry(state).state
    assert (truth.active, truth.sequence) == (good, sequence + 1)
    assert "rotten" in truth.quarantined[active]
    assert (state / "lost+found" / "adapters" / active / "manifest.json").exists()


@pytest.mark.parametrize("content", [None, b"", b'{"active":'])
def test_a_lost_truth_is_rebuilt(state: Path, capsys: Said, content: bytes | None) -> None:
    before, (active, _, bad) = Registry(state).state, actives(state)
    path = state / "state.json"
    path.unlink() if content is None else path.write_bytes(content)
    assert fsck(state, capsys, "--repair")[0] == 0
    truth = Registry(state).state
    assert (truth.active, truth.good) == (active, before.good), "the log tells it all"
    assert truth.quarantined == {bad: "it went wrong"}
    assert truth.sequence >= before.sequence


def test_where_the_log_is_torn_the_base_serves(state: Path, capsys: Said) -> None:
    (_, _, bad), sequence = actives(state), Registry(state).state.sequence
    with (state / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "rolled_')
    (state / "state.json").write_text("{")
    assert fsck(state, capsys, "--repair")[0] == 0
    truth = Registry(state).state
    assert (truth.active, truth.good, list(truth.quarantined)) == ("base", ["base"], [bad])
    assert truth.sequence >= sequence - 2


def test_who_the_log_says_is_quarantined_stays_so(state: Path, capsys: Said) -> None:
    registry = Registry(state)
    _, good, _ = actives(state)
    EventLog(state / "events.jsonl", lambda _: None).write("quarantined", id=good, reason="manual")
    code, found = fsck(state, capsys)
    assert (code, found[0]["kind"]) == (1, "truth")
    assert good in found[0]["what"]
    assert fsck(state, capsys, "--repair")[0] == 0
    assert Registry(state).state.quarantined[good] == "manual"
    assert Registry(state).state.active == registry.state.active


def test_a_repair_ends_no_pause_and_no_pin(state: Path, capsys: Said) -> None:
    registry = Registry(state)
    active, good, _ = actives(state)
    registry.pause({"since": 1.0, "seconds": None})
    registry.pin(active)
    EventLog(state / "events.jsonl", lambda _: None).write("quarantined", id=good, reason="manual")
    assert fsck(state, capsys, "--repair")[0] == 0
    truth = Registry(state).state
    assert (truth.paused, truth.pinned) == ({"since": 1.0, "seconds": None}, active)


def test_torn_encrypted_frames_are_named(state: Path, capsys: Said, tmp_path: Path) -> None:
    new_secret(tmp_path / "key")
    (state / "buffer").mkdir(exist_ok=True)
    whole, torn = (state / "buffer" / f"000000009{n}-0000000000000000.sealed" for n in (1, 2))
    whole.write_bytes(Vault(str(tmp_path / "key")).close(whole.name, b"a frame"))
    torn.write_bytes(whole.read_bytes()[:20])
    code, found = fsck(state, capsys)
    assert (code, [one["where"] for one in found]) == (1, [str(torn)])


def test_the_base_is_not_touched(state: Path, capsys: Said) -> None:
    rot(state / "adapters" / "base" / "probe.safetensors")
    code, found = fsck(state, capsys, "--repair")
    assert (code, found[0]["kind"], found[0]["left"]) == (1, "base", True)
    assert "acclimate export" in found[0]["remedy"]
    assert (state / "adapters" / "base").is_dir()


def test_beside_a_daemon_it_only_looks(state: Path, capsys: Said) -> None:
    (state / "adapters" / "a9999.tmp").mkdir()
    with only_one(state):
        assert fsck(state, capsys) == (0, []), "that may be its work"
        assert main(["fsck", "--state", str(state), "--repair"]) == 1
    assert "a daemon runs on" in capsys.readouterr().err
    assert (state / "adapters" / "a9999.tmp").exists()


def test_what_cannot_be_read_is_left_to_people(
    state: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state / "config.json").mkdir()
    code, found = fsck(state, capsys, "--repair")
    assert (code, found[0]["kind"], found[0]["can_repair"]) == (1, "unreadable", False)


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: Said) -> None:
    assert main(["fsck", "--state", str(tmp_path / "none")]) == 78
    (tmp_path / "empty").mkdir()
    assert fsck(tmp_path / "empty", capsys) == (0, [])


def test_two_finds_of_one_name_lie_side_by_side(state: Path, capsys: Said) -> None:
    for _ in range(2):
        DAMAGE["config"](state)
        assert fsck(state, capsys, "--repair")[0] == 0
    assert {path.name for path in (state / "lost+found").glob("config*")} == {
        "config.json", "config.json.1",
    }  # fmt: skip


def test_an_engine_that_was_altered_is_named(state: Path, prepared: Path, capsys: Said) -> None:
    shutil.copytree(prepared / "engine", state / "engine")
    assert fsck(state, capsys) == (0, [])
    rot(state / "engine" / "model.onnx")
    code, found = fsck(state, capsys, "--repair")
    assert (code, found[0]["kind"]) == (1, "engine")


def test_torn_lines_leave_the_log(state: Path, capsys: Said) -> None:
    DAMAGE["events"](state)
    rows, torn = read(state / "events.jsonl")
    assert len(torn) == 1
    assert fsck(state, capsys, "--repair")[0] == 0
    left, torn = read(state / "events.jsonl")
    assert (left[:-1], torn) == (rows, [])
    assert (left[-1]["event"], left[-1]["lost"]) == (
        "log_repaired", f"1 of {len(rows) + 1} lines cannot be read",
    )  # fmt: skip


def test_what_was_quarantined_by_hand_outlives_its_truth(state: Path, capsys: Said) -> None:
    """Without a daemon, too, the log is told."""
    active, good, bad = actives(state)
    assert main(["adapters", "quarantine", good, "--state", str(state)]) == 0
    assert main(["adapters", "rollback", "--state", str(state)]) == 0
    (state / "state.json").unlink()
    assert fsck(state, capsys, "--repair")[0] == 0
    truth = Registry(state).state
    assert truth.quarantined.keys() == {active, good, bad}
    assert (truth.active, truth.good) == ("base", ["base"])


@pytest.mark.parametrize(
    "row",
    [
        {"event": "quarantined", "id": "a" + "9" * 5000},
        {"event": "quarantined", "id": "../../x"},
        {"event": "swapped", "id": ["a1"]},
        {"event": "set_aside", "id": "a1", "to": "../../x"},
    ],
)
def test_ids_that_cannot_be_name_nobody(state: Path, capsys: Said, row: dict[str, Any]) -> None:
    active, *_ = actives(state)
    (state / "state.json").unlink()
    log = state / "events.jsonl"
    log.write_text(log.read_text() + json.dumps({"t": 0.0, "time": 1.0, **row}) + "\n")
    assert fsck(state, capsys, "--repair")[0] == 0
    assert fsck(state, capsys) == (0, [])
    assert Registry(state).state.active == active


@pytest.mark.parametrize("told", [{"sequence": "x"}, {"files": {"\ud800": "0"}}])
def test_an_adapter_whose_manifest_cannot_be_is_lost(
    state: Path, capsys: Said, told: dict[str, Any]
) -> None:
    folder = state / "adapters" / "a0099"
    folder.mkdir()
    made = {"id": "a0099", "base_digest": "b", "files": {}, **told}
    (folder / "manifest.json").write_text(json.dumps(made))
    assert [one["kind"] for one in fsck(state, capsys, "--repair")[1]] == ["adapter"]
    assert fsck(state, capsys) == (0, [])
    assert (state / "lost+found" / "adapters" / "a0099" / "manifest.json").is_file()
