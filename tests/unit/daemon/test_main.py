"""A machine that only serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from acclimate.configs.schema import Config
from acclimate.daemon import main as module
from acclimate.daemon.main import prepare
from acclimate.errors import ExportError


def test_without_torch_a_prepared_folder_serves(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "can_adapt", lambda: False)
    before = (state / "engine" / "model.onnx").stat().st_mtime_ns
    assert prepare(Config(), state).is_file()
    assert (state / "engine" / "model.onnx").stat().st_mtime_ns == before


def test_without_torch_and_engine_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "can_adapt", lambda: False)
    with pytest.raises(ExportError, match=r"acclimate\[adapt\]"):
        prepare(Config(), tmp_path)
