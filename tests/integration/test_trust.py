"""A real daemon that signs, requires signatures, encrypts its frames and is told to forget them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.trust import TrustConfig
from acclimate.runtime import trust
from acclimate.runtime.bundle import load_bundle, write_bundle
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.keys import new_pair, new_secret
from tests.conftest import wait_until
from tests.integration.conftest import QUICK, Daemon


def acclimate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "acclimate.daemon.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def other(state: Path, name: str, where: Path) -> None:
    """The base again under another name, signed with whatever key counts."""
    base = load_bundle(state / "adapters" / "base", EngineInfo.load(state / "engine"))
    manifest = base.manifest | {"id": name, "kind": "normalisation", "sequence": 1}
    write_bundle(where, manifest, base.inputs, base.probe_frames, base.probe_labels)


def test_signed_sealed_tried_and_forgotten(
    prepared: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(trust.ENVIRONMENT, "{}")
    for name in ("own", "fleet", "stranger"):
        new_pair(tmp_path / name)
    new_secret(tmp_path / "frames")
    rules = {
        "require_signatures": True, "signing_key": str(tmp_path / "own"),
        "keys": [str(tmp_path / "fleet.pub")],
    }  # fmt: skip
    settings: dict[str, Any] = {
        **QUICK, "trust": rules, "adapt": {"enabled": False},
        "buffer": {"key_file": str(tmp_path / "frames"), "max_age_hours": 1},
    }  # fmt: skip
    for key in ("fleet", "stranger"):
        trust.hand_on(TrustConfig(False, (), str(tmp_path / key)))
        there = tmp_path / f"of-{key}"
        (there / "adapters").mkdir(parents=True)
        other(prepared, "a0001", there / "adapters" / "a0001")
        exported = acclimate("adapters", "export", "a0001", "--to", str(tmp_path / f"{key}.tar"),
                             "--state", str(there))  # fmt: skip
        assert exported.returncode == 0, exported.stderr
    trust.hand_on(TrustConfig(False, (), str(tmp_path / "own")))
    trust.sign(state / "engine" / "engine.json")  # as where it was exported; the base is not signed
    monkeypatch.setenv(trust.ENVIRONMENT, "{}")

    daemon = Daemon(state, ["--source", "world:seed=3"], settings)
    try:
        daemon.wait("serving", seconds=400)
        assert (state / "adapters" / "base" / "manifest.json.sig").is_file()
        buffer = state / "buffer"
        wait_until(lambda: len(list(buffer.glob("*.sealed"))) >= 2, 300, "closed frames")
        assert not list(buffer.glob("*.npz*"))

        refused = acclimate(
            "adapters", "import", str(tmp_path / "stranger.tar"), "--state", str(state)
        )
        assert refused.returncode == 1
        assert "which is none of trust.keys" in refused.stderr
        taken = acclimate("adapters", "import", str(tmp_path / "fleet.tar"), "--state", str(state))
        assert taken.returncode == 0, taken.stderr
        name = daemon.wait("imported")[0]["id"]
        assert not daemon.events("swapped"), "it lies there, and does not serve"

        tried = acclimate("adapters", "try", name, "--state", str(state))
        assert tried.returncode == 0, tried.stderr
        assert daemon.wait("swapped")[0]["id"] == name
        passed = daemon.wait("probation_passed")
        assert passed[0]["id"] == name

        before = (tmp_path / "frames").read_text()
        purged = acclimate("purge", "--all", "--adapters-memory", "--state", str(state))
        assert purged.returncode == 0, purged.stderr
        assert "buffered frames" in purged.stdout
        assert "was destroyed" in purged.stdout
        assert (tmp_path / "frames").read_text() != before
        code, ledger = daemon.stop()
        assert (code, ledger["balanced"]) == (0, True)
    finally:
        daemon.process.kill()

    # what somebody changes while the daemon is away does not serve: it is told and set aside
    manifest = state / "adapters" / name / "manifest.json"
    made = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(made | {"created": 0.0}))
    again = Daemon(state, ["--source", "world:seed=3"], settings)
    try:
        assert again.wait("serving", 2, seconds=400)[1]["adapter"] == "base"
        assert "was altered" in again.wait("set_aside")[0]["reason"]
        again.stop()
    finally:
        again.process.kill()
