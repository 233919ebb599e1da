"""What is in the engine cache: list it, verify it, prune it; needs no torch.

    python -m acclimate.export.engines list|verify|prune --state DIR [--json] [--all]

Exit codes: 0 done, 1 something is wrong (it is named, with the remedy).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from acclimate.configs.schema import parse_config
from acclimate.configs.serving import ServingConfig
from acclimate.errors import ConfigError, EngineError, EngineLoadError, ParityError
from acclimate.export.build import measured, needs_building, sound_graph
from acclimate.export.parity import check, measure, reference_of, summary
from acclimate.export.process import exit_code
from acclimate.runtime import cache
from acclimate.runtime.cache import Entry, Key
from acclimate.runtime.choice import CPU, PORTABLE, Choice, choices, key_for, missing
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.engines import built, open_engine
from acclimate.runtime.found import Found, find

Parity = dict[str, float]


@dataclass(frozen=True)
class Row:
    """One engine, as it is shown; the graph itself is the first."""

    engine: str
    precision: str
    capacity: int
    device: str
    megabytes: float
    parity: Parity | None
    state: str
    folder: str


class Shelf:
    """The engines of one state folder on this machine."""

    def __init__(self, state: Path, found: Found) -> None:
        """Look, without opening any; raises EngineLoadError where there is no graph."""
        self.graph, self.found = state / "engine", found
        self.info = EngineInfo.load(self.graph)
        self.serving = self._serves(_serving(state))

    def rows(self) -> list[Row]:
        """The graph and every entry."""
        return [self._graph(), *map(self._row, cache.folders(self.graph))]

    def verify(self) -> list[str]:
        """Problems with their remedies; what is measured is written down."""
        problems = _told(self._verify_graph)
        for folder in cache.folders(self.graph):
            problems += _told(self._verify, folder)
        return problems

    def prune(self, everything: bool) -> list[Path]:
        """Remove what does not fit here, or all but what serves; returns what was removed."""
        keys = [one.key for one in cache.entries(self.graph) if not self._differs(one.key)]
        kept = {key.digest for key in ([] if everything else keys)}
        return cache.prune(self.graph, kept | ({self.serving.digest} if self.serving else set()))

    def _serves(self, wanted: ServingConfig) -> Key | None:
        """The engine that the runtime would take; as `open_engine` goes through them."""
        try:
            possible = choices(wanted.engine, wanted.precision, self.found)
        except EngineLoadError:
            return None
        for choice in possible:
            key = key_for(self.info, choice, wanted.capacity, self.found)
            if not needs_building(choice):
                return key
            try:
                return built(self.graph, key).key
            except EngineLoadError:
                continue
        return None

    def _graph(self) -> Row:
        try:
            sound_graph(self.graph)
            own = self.serving and not needs_building(_choice(self.serving))
            word = "serves" if own else "fits"
        except EngineLoadError:
            word = "altered"
        path, most = self.graph / cache.ONNX, self.info.strings[1]
        size = path.stat().st_size / 1e6 if path.is_file() else 0.0
        return Row("onnxruntime", "fp32", most, "any", size, None, word, str(self.graph))

    def _row(self, folder: Path) -> Row:
        try:
            entry = cache.read(folder)
        except EngineLoadError:
            return Row("?", "?", 0, "?", 0.0, None, "altered", str(folder))
        key, size = entry.key, _megabytes(entry)
        word = self._word(entry)
        return Row(
            key.engine, key.precision, key.capacity, key.device, size, entry.parity, word,
            str(folder),
        )  # fmt: skip

    def _word(self, entry: Entry) -> str:
        try:
            cache.verify(entry.folder)
        except EngineLoadError:
            return "altered"
        if entry.key == self.serving:
            return "serves"
        if other := self._differs(entry.key):
            return f"other {other[0]}"
        return "fits" if entry.parity is not None else "unmeasured"

    def _differs(self, have: Key) -> list[str]:
        """In what an entry is not of this graph, this machine and these libraries."""
        want = key_for(self.info, _choice(have), have.capacity, self.found)
        if have.engine == "tensorrt-rtx" and have.device == PORTABLE:
            want = replace(want, device=PORTABLE, driver=PORTABLE)
        return [name for name, _, _ in cache.differences(have, want)]

    def _verify_graph(self) -> None:
        sound_graph(self.graph)
        engine = open_engine(self.graph, name=CPU, precision="fp32")
        check(measure(engine, reference_of(self.graph)), "fp32")

    def _verify(self, folder: Path) -> None:
        """Raises EngineError or ParityError; an engine outside its tolerance serves no more."""
        entry = cache.verify(folder)
        if self._differs(entry.key) or missing(entry.key.engine, self.found):
            return
        try:
            parity = measured(self.graph, entry)
        except ParityError:
            cache.set_parity(folder, None)
            raise
        if entry.parity is None:
            cache.set_parity(folder, parity)


def show(rows: list[Row]) -> str:
    """A table, one engine a line."""
    head = ("engine", "precision", "capacity", "device", "MB", "state", "against torch")
    lines = [
        (r.engine, r.precision, str(r.capacity), r.device, f"{r.megabytes:.1f}", r.state,
         summary(r.parity) if r.parity else "-")
        for r in rows
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *lines)
    )


def _told(check: Callable[..., None], *arguments: Path) -> list[str]:
    try:
        check(*arguments)
    except ParityError as error:
        where = "".join(f"{path}: " for path in arguments)
        return [f"{where}{error}; it will not serve: build it again or use another precision"]
    except EngineError as error:
        return [str(error)]
    return []


def _serving(state: Path) -> ServingConfig:
    """As the state folder was prepared; the defaults where it never was."""
    try:
        return parse_config(json.loads((state / "config.json").read_text())).serving
    except (OSError, ValueError, ConfigError):
        return ServingConfig()


def _choice(key: Key) -> Choice:
    return Choice(key.engine, key.precision, "")


def _megabytes(entry: Entry) -> float:
    try:
        return entry.megabytes
    except OSError:
        return 0.0


def _list(shelf: Shelf, options: argparse.Namespace) -> int:
    rows = shelf.rows()
    print(json.dumps([asdict(row) for row in rows], indent=1) if options.json else show(rows))
    return 0


def _verify(shelf: Shelf, options: argparse.Namespace) -> int:
    problems = shelf.verify()
    rows = shelf.rows()
    if options.json:
        told = {"problems": problems, "engines": [asdict(row) for row in rows]}
        print(json.dumps(told, indent=1))
    else:
        print("\n".join([show(rows), *(f"error: {problem}" for problem in problems)]))
    return 1 if problems else 0


def _prune(shelf: Shelf, options: argparse.Namespace) -> int:
    gone = shelf.prune(options.all)
    if options.json:
        print(json.dumps([str(path) for path in gone]))
    else:
        print("\n".join(f"removed {path}" for path in gone) or "nothing to remove")
    return 0


VERBS = {"list": _list, "verify": _verify, "prune": _prune}


def main(arguments: list[str] | None = None) -> int:
    """Process entry; see the module."""
    parser = argparse.ArgumentParser(description="List, verify, prune built engines.")
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("--state", type=Path, required=True, help="state folder")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--all", action="store_true", help="prune: all but what serves")
    options = parser.parse_args(arguments)
    codes: list[int] = []

    def work() -> None:
        codes.append(VERBS[options.verb](Shelf(options.state, find()), options))

    return exit_code(work, name=f"engines {options.verb}") or codes[0]


if __name__ == "__main__":
    sys.exit(main())
