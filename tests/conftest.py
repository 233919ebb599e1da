"""What several folders of tests share: one prepared state folder, processes with deadlines."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from acclimate.configs.schema import Config
from acclimate.daemon.main import prepare

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with the default's engine and base bundle; copy it, don't write to it."""
    state = tmp_path_factory.mktemp("prepared") / "state"
    prepare(Config(), state)
    return state


@pytest.fixture
def state(prepared: Path, tmp_path: Path) -> Path:
    """A state folder of one's own."""
    folder = tmp_path / "state"
    shutil.copytree(prepared, folder)
    return folder


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Poll until `true()`; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s for: {what}")
        time.sleep(0.05)
