"""The one truth on disk."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from acclimate.daemon import registry as module
from acclimate.daemon.adapters import card
from acclimate.daemon.drift import Condition
from acclimate.daemon.fsck import Folder
from acclimate.daemon.registry import Registry
from acclimate.daemon.state import State
from acclimate.daemon.status import earned
from acclimate.errors import CorruptBundle, SwapRefused
from acclimate.runtime.job import origin
from benchmarks.crash_disk import Disk, Refusal


def bundle(folder: Path, name: str, sequence: int = 1, base: str = "b") -> Path:
    """A folder that looks like a candidate."""
    (folder / name).mkdir(parents=True)
    manifest = {
        "id": name, "sequence": sequence, "base_digest": base,
        "condition": {"mean": [0.0], "spread": 1.0},
    }  # fmt: skip
    (folder / name / "manifest.json").write_text(json.dumps(manifest))
    return folder / name


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    bundle(tmp_path / "state" / "adapters", "base", 0)
    return Registry(tmp_path / "state")


def adopted(registry: Registry, tmp_path: Path, *names: str) -> None:
    """Each went all the way from candidate to good; the last one is active."""
    for number, name in enumerate(names, 1):
        registry.adopt(name, bundle(tmp_path / "candidates", name, number))
        registry.activate(name)
        registry.trust(name)


def vanish(registry: Registry, name: str) -> None:
    """Its folder is no bundle any more."""
    (registry.folder_of(name) / "manifest.json").unlink()


def test_a_fresh_folder_serves_the_base(tmp_path: Path) -> None:
    fresh = Registry(tmp_path / "new")
    assert fresh.state == State(active="base", good=["base"])
    assert fresh.names() == []
    assert not (tmp_path / "new").exists(), "looking writes nothing"


ODD = [None, "x", 1.5, [1], {"a": 1}, 10**400]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("key", ["sequence", "files", "condition", "card", "training", "created"])
def test_an_adapter_of_odd_kinds_costs_nobody_but_itself(
    registry: Registry, tmp_path: Path, key: str, odd: object
) -> None:
    adopted(registry, tmp_path, "a1", "a2")
    path = registry.folder_of("a2") / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: odd, "vocabulary_digest": "w"}))
    for look in (Registry(registry.folder), _without_truth(registry)):
        assert {"base", "a1"} <= set(look.names())
        assert look.prune() == []
        assert look.way_back() in ("a1", "base")
        Condition.of(look.condition("a2"))
        assert "a2" in card(look, "a2", look.manifest("a2") or {})
        assert earned(look.card("a2")) is None
        assert {one.kind for one in Folder(registry.folder).problems()} >= {"adapter"}


def _without_truth(registry: Registry) -> Registry:
    (registry.folder / "state.json").unlink()
    return Registry(registry.folder)


@pytest.mark.parametrize("text", ["[" * 100000, '{"a":' * 100000])
def test_a_manifest_too_deep_to_read_is_none(registry: Registry, text: str) -> None:
    (bundle(registry.folder / "adapters", "a1") / "manifest.json").write_text(text)
    assert registry.names() == ["base"]
    (registry.folder / "state.json").write_text(text)
    with pytest.raises(CorruptBundle, match="fsck"):
        Registry(registry.folder)


@pytest.mark.parametrize(
    ("key", "odd"),
    [("sequence", 1.5), ("sequence", "1"), ("active", None), ("active", []), ("previous", [1]),
     ("candidate", 3), ("good", None), ("good", "base"), ("good", [1]), ("quarantined", None),
     ("quarantined", ["a1"]), ("reference", {"mean": "x", "spread": 1.0}), ("pinned", 7)],
)  # fmt: skip
def test_a_truth_of_odd_kinds_is_none(registry: Registry, key: str, odd: object) -> None:
    told = asdict(registry.state) | {key: odd}
    (registry.folder / "state.json").write_text(json.dumps(told))
    with pytest.raises(CorruptBundle, match="fsck"):
        Registry(registry.folder)


def test_a_candidate_lives_through_every_word(registry: Registry, tmp_path: Path) -> None:
    registry.adopt("a1", bundle(tmp_path / "candidates", "a1"))
    assert (registry.word_for("a1"), registry.word_for("base")) == ("candidate", "active")
    registry.activate("a1")
    assert (registry.word_for("a1"), registry.word_for("base")) == ("active", "previous")
    registry.trust("a1")
    registry.activate("base")
    assert (registry.word_for("a1"), registry.state.good) == ("previous", ["base", "a1"])
    registry.quarantine("a1", "it went wrong")
    assert registry.word_for("a1") == "quarantined"
    assert (registry.state.good, registry.way_back()) == (["base"], "base")


def test_adopting_moves_the_folder(registry: Registry, tmp_path: Path) -> None:
    candidate = bundle(tmp_path / "candidates", "a1")
    registry.adopt("a1", candidate)
    assert not candidate.exists()
    assert registry.names() == ["base", "a1"]
    assert (registry.state.active, registry.state.candidate) == ("base", "a1")


def test_the_quarantined_cannot_be_activated(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, "a1")
    registry.activate("base")
    registry.quarantine("a1", "it went wrong")
    with pytest.raises(SwapRefused, match="a1 is quarantined: it went wrong"):
        registry.activate("a1")
    assert registry.state.active == "base"
    assert not registry.may_serve("a1")


def test_the_base_cannot_be_quarantined(registry: Registry) -> None:
    with pytest.raises(SwapRefused, match="base"):
        registry.quarantine("base", "no")
    assert registry.may_serve("base")


def test_everything_survives_a_restart(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, "a1", "a2")
    registry.quarantine("a1", "why not")
    registry.remember_reference([1.0, 2.0], 0.5)
    again = Registry(registry.folder)
    assert again.state == registry.state
    assert again.names() == ["base", "a1", "a2"]
    assert again.condition("base") == {"mean": [1.0, 2.0], "spread": 0.5, "base": "b"}
    assert again.condition("a2") == {"mean": [0.0], "spread": 1.0}
    assert again.condition("nobody") is None


def test_the_truth_is_replaced_whole(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted(registry, tmp_path, "a1")
    before = (registry.folder / "state.json").read_text()

    def power_cut(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("acclimate.runtime.durable.os.fsync", power_cut)
        with pytest.raises(OSError, match="No space"):
            registry.quarantine("a1", "bad")
    assert (registry.folder / "state.json").read_text() == before
    assert [path.name for path in registry.folder.glob("state.json*")] == ["state.json"]
    assert "a1" in registry.state.quarantined, "memory is the truth until the disk has room"
    registry.save()
    assert Registry(registry.folder).state == registry.state


def test_saving_writes_only_what_was_refused(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.trust("a1")
    written: list[Path] = []
    monkeypatch.setattr(module, "write_atomic", lambda path, _: written.append(path))
    registry.save()
    assert written == []


def test_sequence_numbers_only_rise(registry: Registry, tmp_path: Path) -> None:
    seen = [registry.next_name()[0]]
    adopted(registry, tmp_path, "a1")
    seen.append(registry.state.sequence)
    registry.activate("base")
    seen.append(registry.state.sequence)
    number, name = Registry(registry.folder).next_name()
    assert name == f"a{number:04d}"
    seen.append(number)
    assert seen == sorted(set(seen))


def test_the_way_back_is_the_previous_one_if_it_is_good(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, "a1", "a2", "a3")
    assert registry.way_back() == "a2"
    registry.quarantine("a2", "bad")
    assert registry.way_back() == "a1"
    registry.activate("base")
    registry.activate("a3")
    assert registry.way_back() == "base"


def test_the_way_back_leads_to_nothing_unproven(registry: Registry, tmp_path: Path) -> None:
    registry.adopt("a1", bundle(tmp_path / "candidates", "a1"))
    registry.activate("a1")
    registry.adopt("a2", bundle(tmp_path / "candidates", "a2", 2))
    registry.activate("a2")
    assert (registry.state.previous, registry.way_back()) == ("a1", "base")


def test_the_way_back_leads_to_nothing_that_is_gone(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, "a1", "a2", "a3")
    vanish(registry, "a2")
    assert (registry.state.previous, registry.way_back()) == ("a2", "a1")
    vanish(registry, "a1")
    assert registry.way_back() == "base"


def test_what_was_made_for_another_base_may_not_serve(registry: Registry, tmp_path: Path) -> None:
    registry.adopt("a1", bundle(tmp_path / "candidates", "a1", base="an older one"))
    registry.trust("a1")
    assert (registry.may_serve("base"), registry.may_serve("a1")) == (True, False)
    assert registry.names() == ["base", "a1"], "it is still there to be looked at"


def test_what_was_made_for_another_engine_may_not_serve(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, "a1", "a2", "torn")
    four, two = ([f"visual.{i}.q_proj.weight" for i in range(n)] for n in (4, 2))
    for name, inputs in (("base", two), ("a1", two), ("a2", four)):
        tensors = {key: np.zeros(1, np.float32) for key in inputs}
        save_file(tensors, registry.folder_of(name) / "inputs.safetensors")
    (registry.folder_of("torn") / "inputs.safetensors").write_bytes(b"x")
    names = ("base", "a1", "a2", "torn")
    assert [registry.may_serve(name) for name in names] == [True, True, False, True]


def test_what_is_newer_than_a_rollback_is_not_recalled(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, "a1", "a2", "a3")
    registry.forget_after("a1")
    assert registry.state.good == ["base", "a1"]
    assert registry.names() == ["base", "a1", "a2", "a3"], "they are kept on disk"
    assert registry.word_for("a2") == "previous"
    registry.forget_after("nobody")
    assert registry.state.good == ["base", "a1"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two adapters of each kind are kept."""
    monkeypatch.setattr(module, "KEPT", 2)


@pytest.mark.usefixtures("few")
def test_the_oldest_good_ones_are_forgotten(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, *(f"a{n}" for n in range(1, 7)))
    assert registry.prune() == ["a1", "a2"]
    left = ["base", "a3", "a4", "a5", "a6"]  # a5 and a6 are previous and active
    assert registry.names() == registry.state.good == left
    assert sorted(p.name for p in (registry.folder / "adapters").iterdir()) == sorted(left)
    assert Registry(registry.folder).state == registry.state
    assert registry.prune() == []


@pytest.mark.usefixtures("few")
def test_what_was_taken_out_leaves_but_is_remembered(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, "a1", "a2")
    for number in range(3, 8):
        registry.adopt(f"a{number}", bundle(tmp_path / "candidates", f"a{number}", number))
        if number != 4:  # that one was only set aside
            registry.quarantine(f"a{number}", "bad")
    registry.state.candidate = None
    assert registry.prune() == ["a3", "a4", "a5"]
    assert registry.names() == ["base", "a1", "a2", "a6", "a7"]
    assert list(registry.state.quarantined) == ["a3", "a5", "a6", "a7"]
    assert registry.state.good == ["base", "a1", "a2"], "the bad do not push out the good"


@pytest.mark.usefixtures("few")
def test_what_the_truth_names_is_never_forgotten(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, *(f"a{n}" for n in range(1, 7)))
    registry.activate("a1")
    registry.activate("a2")
    registry.adopt("a0", bundle(tmp_path / "candidates", "a0", 0))
    registry.prune()
    assert registry.names() == ["a0", "base", "a1", "a2", "a5", "a6"]
    assert (registry.state.candidate, registry.way_back()) == ("a0", "a1")


@pytest.mark.usefixtures("few")
def test_a_removal_that_is_cut_short_is_swept(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted(registry, tmp_path, *(f"a{n}" for n in range(1, 6)))

    def power_cut(_: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="Input/output"):
        broken.setattr(module.shutil, "rmtree", power_cut)
        registry.prune()
    again = Registry(registry.folder)
    assert again.names() == again.state.good == ["base", "a2", "a3", "a4", "a5"]
    again.sweep()
    assert len(list((again.folder / "adapters").iterdir())) == 5


def test_a_folder_without_a_manifest_does_not_exist(registry: Registry) -> None:
    (registry.folder / "adapters" / "half").mkdir()
    for name, content in (("rotten", "{"), ("list", "[]"), ("binary", "\x00\x01")):
        (registry.folder / "adapters" / name).mkdir()
        (registry.folder / "adapters" / name / "manifest.json").write_text(content)
    assert registry.names() == ["base"]
    assert (registry.manifest("half"), registry.may_serve("half")) == (None, False)


def test_leftovers_are_swept_by_their_owner_only(registry: Registry) -> None:
    torn = registry.folder / "adapters" / "a9.tmp"
    torn.mkdir()
    again = Registry(registry.folder)
    assert torn.exists(), "someone may be writing it just now"
    again.sweep()
    assert not torn.exists()
    assert again.names() == ["base"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"active": "base"}', b"\xff\xfe\x00"]
)
def test_a_rotten_truth_is_named(registry: Registry, content: bytes) -> None:
    path = registry.folder / "state.json"
    path.write_bytes(content)
    with pytest.raises(CorruptBundle, match="move it away") as refused:
        Registry(registry.folder)
    assert str(path) in str(refused.value)
    assert path.read_bytes() == content, "nothing is repaired behind anyone's back"


def test_an_adapter_of_other_words_may_not_serve(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, "a1")
    assert registry.may_serve("a1")
    for name, words in (("base", "new"), ("a1", "old")):
        path = registry.folder_of(name) / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"vocabulary_digest": words}))
    assert not registry.may_serve("a1")
    assert registry.way_back() == "base"


# ---- words set by hand


SET = {"key": "k", "digest": "new", "over": "o"}


def with_words(registry: Registry, name: str, digest: str) -> Path:
    """A copy of an adapter with other words."""
    own = registry.manifest(name)
    assert own is not None
    folder = registry.folder / "words" / digest[:16] / name
    folder.mkdir(parents=True)
    made = own | {"vocabulary_digest": digest, "made_from": origin(own)}
    (folder / "manifest.json").write_text(json.dumps(made))
    return folder


def test_with_other_words_only_what_has_them_may_serve(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, "a1", "a2", "a3")
    copies = [with_words(registry, name, "new") for name in ("base", "a1")]
    registry.reword(SET)
    names = ("base", "a1", "a2", "a3")
    assert [registry.may_serve(name) for name in names] == [True, True, False, False]
    assert [registry.folder_of(name) for name in names[:2]] == copies
    assert registry.folder_of("a2") == registry.folder / "adapters" / "a2", "its own words at least"
    assert registry.way_back() == "a1"
    assert registry.names() == ["base", "a1", "a2", "a3"], "nothing is gone"
    registry.reword(None)
    assert all(registry.may_serve(name) for name in names)


def test_an_adapter_made_for_the_new_words_needs_no_copy(
    registry: Registry, tmp_path: Path
) -> None:
    with_words(registry, "base", "new")
    registry.reword(SET)
    candidate = bundle(tmp_path / "candidates", "a1")
    made = json.loads((candidate / "manifest.json").read_text())
    (candidate / "manifest.json").write_text(json.dumps(made | {"vocabulary_digest": "new"}))
    registry.adopt("a1", candidate)
    assert registry.folder_of("a1") == registry.folder / "adapters" / "a1"
    assert registry.may_serve("a1")


def test_words_are_part_of_the_truth(registry: Registry) -> None:
    registry.reword(SET)
    assert Registry(registry.folder).state.words == SET
    assert Registry(registry.folder).words_digest == "new"


def test_a_truth_from_before_there_were_words_is_read(registry: Registry) -> None:
    registry.trust("a1")
    path = registry.folder / "state.json"
    raw = json.loads(path.read_text())
    del raw["words"], raw["sha256"]  # nor digests
    path.write_text(json.dumps(raw))
    assert (Registry(registry.folder).state.words, registry.words_digest) == (None, None)


@pytest.mark.parametrize("words", [7, "new", [], {}, {"key": "k", "digest": "d"}])
def test_rotten_words_are_named(registry: Registry, words: object) -> None:
    registry.trust("a1")
    path = registry.folder / "state.json"
    raw = json.loads(path.read_text()) | {"words": words, "sha256": None}
    path.write_text(json.dumps(raw))
    with pytest.raises(CorruptBundle, match="move it away"):
        Registry(registry.folder)


@pytest.mark.parametrize(
    "rot", [("a1", "a2"), ("it went", "it sent"), ('"sequence": ', '"sequence": 1')]
)
def test_one_letter_that_rots_is_found(
    registry: Registry, tmp_path: Path, rot: tuple[str, str]
) -> None:
    adopted(registry, tmp_path, "a1")
    registry.quarantine("a1", "it went wrong")
    path = registry.folder / "state.json"
    assert "a1" in Registry(registry.folder).state.quarantined
    path.write_text(path.read_text().replace(*rot))
    with pytest.raises(CorruptBundle, match="not what was written"):
        Registry(registry.folder)


@pytest.mark.usefixtures("few")
def test_copies_leave_with_their_adapter(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, *(f"a{n}" for n in range(1, 6)))
    copies = [with_words(registry, name, "new") for name in ("base", "a1", "a2")]
    assert registry.prune() == ["a1"]
    assert [folder.exists() for folder in copies] == [True, False, True]


def test_what_was_learned_is_replaced_and_dropped(registry: Registry, tmp_path: Path) -> None:
    registry.learn(bundle(tmp_path, "a1"))
    registry.learn(bundle(tmp_path, "a2"))
    assert json.loads((registry.learned / "manifest.json").read_text())["id"] == "a2"
    assert registry.names() == Registry(registry.folder).names() == ["base"]
    registry.learn(None)
    registry.learn(None)
    assert not registry.learned.exists()


def test_a_rollback_and_other_words_end_what_was_learned(
    registry: Registry, tmp_path: Path
) -> None:
    for number, end in enumerate((
        lambda: registry.quarantine("a9", "collapsed"),
        lambda: registry.reword({"key": "k", "digest": "d", "over": "o"}),
    )):  # fmt: skip
        registry.learn(bundle(tmp_path, f"a{number}"))
        end()
        assert not registry.learned.exists()


@pytest.mark.parametrize(
    ("told", "expected"), [([0.5, 0.5], [0.5, 0.5]), (None, None), ("x", None), ([[1.0]], None)]
)
def test_shares_are_numbers_or_none(registry: Registry, told: object, expected: object) -> None:
    file = bundle(registry.folder / "adapters", "a1") / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shares": told}))
    assert registry.shares("a1") == expected


def test_an_id_never_comes_back_after_the_truth_was_lost(
    registry: Registry, tmp_path: Path
) -> None:
    names = [registry.next_name()[1] for _ in range(3)]
    for number, name in enumerate(names, 1):
        registry.adopt(name, bundle(tmp_path / "candidates", name, number))
    (registry.folder / "state.json").unlink()
    again = Registry(registry.folder)
    assert again.state.sequence == 3
    again.state.sequence = 0
    assert again.next_name() == (4, "a0004")


def test_a_truth_that_may_not_be_read_is_not_called_rotten(registry: Registry) -> None:
    registry.trust("a1")
    with (
        Disk(registry.folder, Refusal(1, errno.EMFILE)),
        pytest.raises(OSError, match="Too many open files"),
    ):
        Registry(registry.folder)


def test_leftovers_that_stay_keep_nobody_from_starting(registry: Registry) -> None:
    (registry.folder / "adapters" / "a9.tmp").mkdir()
    (registry.folder / "adapters" / "file.tmp").write_text("x")
    with Disk(registry.folder, Refusal(1, errno.EROFS, 10**9)):
        registry.sweep()
    registry.sweep()
    assert [path.name for path in (registry.folder / "adapters").iterdir()] == ["base"]


def test_a_truth_nested_beyond_reading_is_called_rotten(registry: Registry) -> None:
    (registry.folder / "state.json").write_text("[" * 100_000)
    with pytest.raises(CorruptBundle, match="fsck --repair"):
        Registry(registry.folder)


@pytest.mark.parametrize(
    "manifest", ['{"sequence": "x"}', '{"sequence": [1]}', '{"files": []}', "[" * 100_000]
)
def test_a_manifest_that_cannot_be_is_none(registry: Registry, manifest: str) -> None:
    folder = bundle(registry.folder / "adapters", "a1")
    (folder / "manifest.json").write_text(manifest)
    again = Registry(registry.folder)
    assert (again.manifest("a1"), again.names(), again.may_serve("a1")) == (None, ["base"], False)
