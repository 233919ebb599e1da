"""Nothing that is read can run code: no pickle, and no loader that would use it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSE = ("daemon", "runtime", "adapt", "export", "model", "world", "configs", "benchmarks", "src")
FILES = sorted(
    path for folder in HOUSE for path in (ROOT / folder).rglob("*.py") if not path.is_symlink()
)
BANNED_MODULES = {
    "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal",
    "jsonpickle", "hickle",
}  # fmt: skip
BANNED_CALLS = {
    "eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all",
    "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "tarfile.extractall",
    "shutil.unpack_archive", "os.system",
}  # fmt: skip


def faults(source: str) -> Iterator[str]:
    """What in a file could unpickle or run what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
            yield from (f"import {name}" for name in names & BANNED_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in BANNED_MODULES:
            # an error that torch raises is no way to unpickle
            yield from (
                f"{node.module}.{a.name}" for a in node.names if a.name != "UnpicklingError"
            )
        elif isinstance(node, ast.Call):
            yield from call_faults(node)


def call_faults(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    given = {word.arg: ast.unparse(word.value) for word in node.keywords}
    if name in BANNED_CALLS or name.rsplit(".", 1)[-1] in ("extractall", "allow_dangerous"):
        yield f"{name}()"
    if name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
        yield f"{name}() without allow_pickle=False"
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load() without weights_only=True"
    if given.get("allow_pickle", "False") != "False" or given.get("shell", "False") != "False":
        yield f"{name}() with allow_pickle or shell"


def test_the_house_was_found() -> None:
    assert len(FILES) > 150


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_runs_what_it_reads(path: Path) -> None:
    assert list(faults(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "import os, dill", "from pickle import loads", "np.load(path)",
        "np.load(path, allow_pickle=True)", "numpy.load(f, 'r')", "torch.load(path)",
        "torch.load(path, weights_only=False)", "yaml.load(text, Loader=L)", "eval(text)",
        "tar.extractall(folder)", "subprocess.run(line, shell=True)", 
        "from cloudpickle import dump",
        "np.savez(file, a, allow_pickle=True)",
    ],
)  # fmt: skip
def test_the_search_finds_each_kind(source: str) -> None:
    assert list(faults(source))
