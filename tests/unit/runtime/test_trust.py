"""Signatures: whose counts, what they cover, and what happens without one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from acclimate.configs.trust import TrustConfig
from acclimate.errors import ConfigError, EngineLoadError, UntrustedBundle
from acclimate.runtime import trust
from acclimate.runtime.bundle import MANIFEST, load_bundle, write_bundle
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.keys import new_pair

Rule = Callable[..., None]


@pytest.fixture
def rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rule]:
    """Make keys and say which count: rule(signing="own", keys=["fleet"], required=True)."""
    monkeypatch.setenv(trust.ENVIRONMENT, "{}")

    def say(signing: str | None = None, keys: tuple[str, ...] = (), required: bool = True) -> None:
        for name in {signing, *keys} - {None}:
            if not (tmp_path / str(name)).exists():
                new_pair(tmp_path / str(name))
        public = tuple(str(tmp_path / f"{key}.pub") for key in keys)
        private = None if signing is None else str(tmp_path / signing)
        trust.hand_on(TrustConfig(required, public, private))

    yield say


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / MANIFEST
    path.write_text('{"id": "a1"}')
    return path


def test_what_was_signed_is_verified_by_its_name(file: Path, rule: Rule) -> None:
    rule("own")
    trust.sign(file)
    assert trust.verify(file, file.read_bytes()) in trust.policy().keys
    assert trust.distrust(file) is None


def test_one_changed_bit_is_found(file: Path, rule: Rule) -> None:
    rule("own")
    trust.sign(file)
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    with pytest.raises(UntrustedBundle, match="was altered"):
        trust.verify(file, bytes(content))


def test_the_unsigned_is_refused_only_where_signatures_are_required(file: Path, rule: Rule) -> None:
    rule("own")
    assert "is not signed" in str(trust.distrust(file))
    rule("own", required=False)
    assert trust.distrust(file) is None


def test_another_ones_signature_is_refused_by_name(file: Path, rule: Rule) -> None:
    rule("stranger")
    trust.sign(file)
    (stranger,) = trust.policy().keys
    rule("own", ("fleet",))
    with pytest.raises(UntrustedBundle, match=f"signed by the key {stranger}, which is none of"):
        trust.verify(file, file.read_bytes())
    rule("own", ("stranger",))
    assert trust.verify(file, file.read_bytes()) == stranger


def test_a_signature_does_not_move_to_another_kind_of_file(file: Path, rule: Rule) -> None:
    rule("own")
    trust.sign(file)
    other = file.with_name("engine.json")
    shutil.copy(file, other)
    shutil.copy(f"{file}.sig", f"{other}.sig")
    assert "was altered" in str(trust.distrust(other))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", "[" * 5000, '{"algorithm": "none"}',
             '{"algorithm": "ed25519", "key": "x", "signature": "?"}'],
)  # fmt: skip
def test_what_is_no_signature_is_named(file: Path, rule: Rule, text: str) -> None:
    rule("own")
    file.with_name(f"{file.name}.sig").write_text(text)
    with pytest.raises(UntrustedBundle, match=r"manifest\.json\.sig is no signature"):
        trust.verify(file, file.read_bytes())


def test_a_claimed_key_does_not_make_a_signature(file: Path, rule: Rule) -> None:
    rule("stranger")
    trust.sign(file)
    rule("own")
    (own,) = trust.policy().keys
    told = json.loads(file.with_name(f"{file.name}.sig").read_text())
    file.with_name(f"{file.name}.sig").write_text(json.dumps({**told, "key": own}))
    assert "was altered" in str(trust.distrust(file))


def test_every_bad_key_is_told_at_once(tmp_path: Path, rule: Rule) -> None:
    rule("own", ("fleet",))
    (tmp_path / "own").chmod(0o644)
    config = TrustConfig(
        True, (str(tmp_path / "none"), str(tmp_path / "own")), str(tmp_path / "own")
    )
    with pytest.raises(ConfigError) as refused:
        trust.hand_on(config)
    said = refused.value.problems
    assert [line.split(":")[0] for line in said] == [
        "trust.signing_key", "trust.keys[0]", "trust.keys[1]",
    ]  # fmt: skip
    assert os.environ[trust.ENVIRONMENT] != "{}", "the earlier rules stand"


# ---- bundles and engines


def test_a_bundle_is_served_only_with_a_signature_that_counts(
    state: Path, tmp_path: Path, rule: Rule
) -> None:
    folder = state / "adapters" / "base"
    info = EngineInfo.load(state / "engine")
    one = load_bundle(folder, info)
    rule("own")
    with pytest.raises(UntrustedBundle, match=r"manifest\.json is not signed"):
        load_bundle(folder, info)
    manifest = {key: value for key, value in one.manifest.items() if key != "files"}
    write_bundle(tmp_path / "copy", manifest, one.inputs, one.probe_frames, one.probe_labels)
    assert load_bundle(tmp_path / "copy", info).id == "base"
    text = (tmp_path / "copy" / MANIFEST).read_text()
    (tmp_path / "copy" / MANIFEST).write_text(text.replace('"base"', '"a001"', 1))
    with pytest.raises(UntrustedBundle, match="was altered"):
        load_bundle(tmp_path / "copy", info)


def test_a_graph_nobody_vouches_for_is_not_opened(state: Path, rule: Rule) -> None:
    rule("own")
    with pytest.raises(EngineLoadError, match=r"engine\.json is not signed"):
        EngineInfo.load(state / "engine")
    trust.sign(state / "engine" / "engine.json")
    assert EngineInfo.load(state / "engine")
