"""A state folder that refuses to be written when the daemon starts."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest

from acclimate.configs.schema import Config, ModelConfig, parse_config, to_dict
from acclimate.configs.source import SourceConfig
from acclimate.daemon import main as module
from acclimate.daemon.main import only_one, prepare
from acclimate.daemon.unwritten import as_prepared
from acclimate.errors import ExportError
from tests.unit.daemon.test_registry import bundle

READ_ONLY = OSError(errno.EROFS, "Read-only file system")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A folder that was prepared with the defaults."""
    bundle(tmp_path / "state" / "adapters", "base", 0)
    (tmp_path / "state" / "config.json").write_text(json.dumps(to_dict(Config())))
    return tmp_path / "state"


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes nothing; no process may be asked to make anything on it."""

    def refuse(path: Path, content: bytes) -> None:
        raise READ_ONLY

    monkeypatch.setattr(module, "write_atomic", refuse)
    monkeypatch.setattr(module, "wait_for", lambda *_: pytest.fail("something was made"))


@pytest.mark.usefixtures("refusing")
def test_the_configuration_that_lies_there_is_taken(state: Path) -> None:
    assert prepare(Config(), state) == state / "config.json"


@pytest.mark.usefixtures("refusing")
def test_another_configuration_for_the_same_engine_serves_from_elsewhere(state: Path) -> None:
    wanted = replace(Config(), source=SourceConfig(url="rtsp://me:secret@camera/1"))
    path = prepare(wanted, state)
    assert path.parent != state
    assert parse_config(json.loads(path.read_text())) == wanted
    assert path.stat().st_mode & 0o077 == 0, "it has a password"
    assert parse_config(json.loads((state / "config.json").read_text())) == Config()
    path.unlink()


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"model": {"vocabulary": "camvid"}}, "model.vocabulary"),
        ({"serving": {"size": [96, 128]}}, "serving.size"),
        ({"adapt": {"blocks": 1}}, "adapt.blocks"),
    ],
)
def test_another_engine_cannot_be_made(state: Path, changed: object, key: str) -> None:
    with pytest.raises(ExportError, match=rf"Read-only file system, and .* another {key}"):
        prepare(parse_config(changed), state)


def test_where_nothing_was_prepared_the_refusal_stands(tmp_path: Path, state: Path) -> None:
    with pytest.raises(OSError, match="Read-only file system"):
        as_prepared(Config(), tmp_path / "nothing", READ_ONLY)
    (state / "config.json").write_text("{")
    with pytest.raises(OSError, match="Read-only file system"):
        as_prepared(Config(model=ModelConfig(vocabulary="camvid")), state, READ_ONLY)


def test_a_folder_is_held_by_who_may_only_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def read_only(path: Path, mode: str = "r", *rest: object, **more: object) -> object:
        if mode != "r":
            raise READ_ONLY
        return real(path, mode, *rest, **more)  # type: ignore[call-overload]

    with only_one(tmp_path):
        pass
    monkeypatch.setattr(Path, "open", read_only)
    with only_one(tmp_path), pytest.raises(Exception, match="another acclimate"):
        only_one(tmp_path).__enter__()
    with pytest.raises(OSError, match="Read-only"), only_one(tmp_path / "new"):
        pass
