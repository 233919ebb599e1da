"""`pytest tests/golden --goldens DIR`: every folder below DIR that has a config.json.

A test that asks for `KIND_folder` runs once for each folder of that kind. Folders whose kind has
no `test_KIND.py` here yet are listed as skipped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--goldens", default=str(HERE / "data"), help="folder of golden folders")


def golden_folders(config: pytest.Config) -> dict[Path, str]:
    """Every golden folder -> its test id, `KIND-path`."""
    # Absent when pytest was started above this folder, which reads options too early for us.
    top = Path(config.getoption("--goldens", default=str(HERE / "data")))
    if not top.is_dir():
        raise pytest.UsageError(f"--goldens {top} is not a folder")
    walk = os.walk(top, followlinks=True)
    found = sorted(Path(where) for where, _, files in walk if "config.json" in files)
    return {f: f"{kind_of(f)}-{f.relative_to(top).as_posix()}" for f in found}


def kind_of(folder: Path) -> str:
    """What the folder's config.json says it is."""
    return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["kind"])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Fill `KIND_folder` arguments."""
    for name in (n for n in metafunc.fixturenames if n.endswith("_folder")):
        kind = name.removesuffix("_folder")
        ids = {f: i for f, i in golden_folders(metafunc.config).items() if kind_of(f) == kind}
        metafunc.parametrize(name, list(ids), ids=list(ids.values()))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """This file stands for the folders that nobody checks."""
    if file_path != Path(__file__):
        return None
    return UncheckedKinds.from_parent(parent, path=file_path)


class UncheckedKinds(pytest.File):
    """One skipped item for each folder of a kind without a test_KIND.py."""

    def collect(self) -> Iterator[pytest.Item]:
        for folder, name in golden_folders(self.config).items():
            if not (HERE / f"test_{kind_of(folder)}.py").exists():
                yield UncheckedFolder.from_parent(self, name=name)


class UncheckedFolder(pytest.Item):
    """A golden folder waiting for its check."""

    def runtest(self) -> None:
        pytest.skip(f"no check yet for golden kind {self.name.split('-')[0]}")
