"""Keys that will not do are told before anything starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from acclimate.configs.schema import BufferConfig, Config, parse_config
from acclimate.daemon.cli import main
from acclimate.daemon.guard import locked_out, settle
from acclimate.errors import ConfigError
from acclimate.runtime import trust
from acclimate.runtime.keys import new_pair, new_secret
from acclimate.runtime.vault import Vault


@pytest.fixture(autouse=True)
def rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trust.ENVIRONMENT, "{}")


def test_nothing_is_asked_of_who_configures_nothing(tmp_path: Path) -> None:
    settle(Config(), tmp_path)
    assert not trust.policy().required


def test_every_problem_at_once(tmp_path: Path) -> None:
    config = parse_config({
        "trust": {"signing_key": str(tmp_path / "none"), "keys": [str(tmp_path / "neither")]},
        "buffer": {"key_file": str(tmp_path / "nor")},
    })  # fmt: skip
    with pytest.raises(ConfigError) as refused:
        settle(config)
    starts = [problem.split(":")[0] for problem in refused.value.problems]
    assert starts == ["trust.signing_key", "trust.keys[0]", "buffer.key_file"]


def test_rounds_that_could_never_serve_are_told(tmp_path: Path) -> None:
    new_pair(tmp_path / "fleet")
    told = {"require_signatures": True, "keys": [str(tmp_path / "fleet.pub")]}
    with pytest.raises(ConfigError, match="what rounds make could never serve"):
        settle(parse_config({"trust": told}), tmp_path)
    settle(parse_config({"trust": told, "adapt": {"enabled": False}}), tmp_path)
    settle(parse_config({"trust": {**told, "signing_key": str(tmp_path / "fleet")}}), tmp_path)


def test_signatures_of_nobody_are_no_configuration() -> None:
    with pytest.raises(ConfigError, match=r"trust\.require_signatures: no key could sign"):
        parse_config({"trust": {"require_signatures": True}})


def test_a_buffer_that_another_key_closed_is_told_and_no_reason_not_to_serve(
    tmp_path: Path,
) -> None:
    for name in ("one", "two"):
        new_secret(tmp_path / name)
    (tmp_path / "buffer").mkdir()
    entry = tmp_path / "buffer" / "1-ab.sealed"
    entry.write_bytes(Vault(str(tmp_path / "one")).close(entry.name, b"frame"))
    assert locked_out(BufferConfig(key_file=str(tmp_path / "one")), tmp_path) == []
    for given, said in (
        (str(tmp_path / "two"), r"1 buffered frames .* purge --all"), (None, "1 buffered frames"),
        (str(tmp_path / "lost"), "lost"),
    ):  # fmt: skip
        buffer = BufferConfig(key_file=given)
        settle(Config(buffer=buffer), tmp_path)
        (why,) = locked_out(buffer, tmp_path)
        assert re.search(said, why)
    assert entry.exists()


def test_check_config_looks_at_keys_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("trust: {signing_key: /nowhere/key}\n")
    assert main(["check-config", str(tmp_path / "c.yaml")]) == 78
    assert "trust.signing_key: key /nowhere/key cannot be read" in capsys.readouterr().err


def test_keys_are_made_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", str(tmp_path / "device")]) == 0
    assert main(["keys", "new", "--buffer", str(tmp_path / "frames")]) == 0
    capsys.readouterr()
    for file, what in (
        ("device", "signing key"), ("device.pub", "public key"), ("frames", "key for frames"),
    ):  # fmt: skip
        assert main(["keys", "show", str(tmp_path / file)]) == 0
        assert f"{file}: {what} " in capsys.readouterr().out
    (tmp_path / "c.yaml").write_text("")
    assert main(["keys", "show", str(tmp_path / "c.yaml")]) == 78
    assert main(["keys", "new", str(tmp_path / "device")]) == 78
