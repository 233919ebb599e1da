"""The one truth on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acclimate.daemon.registry import Registry
from acclimate.errors import CorruptBundle, SwapRefused


def bundle(folder: Path, name: str, sequence: int = 1) -> Path:
    """A folder that looks like a candidate."""
    (folder / name).mkdir(parents=True)
    manifest = {"id": name, "sequence": sequence, "condition": {"mean": [0.0], "spread": 1.0}}
    (folder / name / "manifest.json").write_text(json.dumps(manifest))
    return folder / name


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    bundle(tmp_path / "state" / "adapters", "base", 0)
    return Registry(tmp_path / "state")


def adopted(registry: Registry, tmp_path: Path, *names: str) -> None:
    for number, name in enumerate(names, 1):
        registry.adopt(name, bundle(tmp_path / "candidates", name, number))
        registry.activate(name)
        registry.trust(name)


def test_a_candidate_lives_through_every_word(registry: Registry, tmp_path: Path) -> None:
    registry.adopt("a1", bundle(tmp_path / "candidates", "a1"))
    assert registry.word_for("a1") == "candidate"
    registry.activate("a1")
    assert (registry.word_for("a1"), registry.word_for("base")) == ("active", "previous")
    registry.trust("a1")
    registry.quarantine("a1", "it went wrong")
    assert registry.state.good == ["base"]
    assert registry.way_back() == "base"
    with pytest.raises(SwapRefused, match="it went wrong"):
        registry.activate("a1")


def test_everything_survives_a_restart(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, "a1", "a2")
    registry.quarantine("a1", "why not")
    registry.remember_reference([1.0, 2.0], 0.5)
    again = Registry(registry.folder)
    assert again.state == registry.state
    assert again.names() == ["base", "a1", "a2"]
    assert again.condition("base") == {"mean": [1.0, 2.0], "spread": 0.5}


def test_sequence_numbers_only_rise(registry: Registry, tmp_path: Path) -> None:
    seen = [registry.next_name()[0]]
    adopted(registry, tmp_path, "a1")
    seen.append(registry.state.sequence)
    registry.activate("base")
    seen.append(registry.state.sequence)
    seen.append(Registry(registry.folder).next_name()[0])
    assert seen == sorted(set(seen))


def test_the_way_back_is_the_last_good_one(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, "a1", "a2", "a3")
    assert registry.way_back() == "a2"
    registry.quarantine("a2", "bad")
    assert registry.way_back() == "a1"


def test_what_is_newer_than_a_rollback_is_not_recalled(registry: Registry, tmp_path: Path) -> None:
    adopted(registry, tmp_path, "a1", "a2", "a3")
    registry.forget_after("a1")
    assert registry.state.good == ["base", "a1"]
    assert registry.word_for("a2") == "previous"


def test_a_folder_without_a_manifest_does_not_exist(registry: Registry) -> None:
    (registry.folder / "adapters" / "half").mkdir()
    (registry.folder / "adapters" / "rotten").mkdir()
    (registry.folder / "adapters" / "rotten" / "manifest.json").write_text("{")
    assert registry.names() == ["base"]
    assert registry.manifest("half") is None


def test_leftovers_of_a_torn_write_are_removed(registry: Registry) -> None:
    torn = registry.folder / "adapters" / "a9.tmp"
    torn.mkdir()
    Registry(registry.folder)
    assert torn.exists()  # it may be what a daemon is writing
    registry.sweep()
    assert not torn.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"active": "base"}'])
def test_a_rotten_truth_is_named(registry: Registry, content: str) -> None:
    (registry.folder / "state.json").write_text(content)
    with pytest.raises(CorruptBundle, match=r"state\.json.*move it away"):
        Registry(registry.folder)


def test_the_base_cannot_be_quarantined(registry: Registry) -> None:
    with pytest.raises(SwapRefused, match="base"):
        registry.quarantine("base", "no")
