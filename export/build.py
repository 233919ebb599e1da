"""An engine for this machine from the exported graph, into the cache beside it; needs no torch.

    python -m acclimate.export.build --state DIR [--engine NAME|auto] [--precision P]
        [--capacity N] [--json]

Does nothing where the engine is there already, or where ONNX Runtime serves the graph's own file.
Exit codes: 0 done, 1 failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from safetensors import SafetensorError, safe_open

from acclimate.configs.serving import EngineName, Precision, ServingConfig
from acclimate.errors import EngineError, EngineLoadError, ExportError
from acclimate.export.parity import (
    CLEAR,
    REFERENCE,
    TOLERANCES,
    check,
    measure,
    reference_of,
    summary,
)  # fmt: skip
from acclimate.export.plan import WORKSPACE, Profile, write_plan
from acclimate.export.precision import convert
from acclimate.export.process import exit_code, say
from acclimate.runtime import cache
from acclimate.runtime.bundle import INPUTS
from acclimate.runtime.cache import Entry, Key
from acclimate.runtime.choice import CPU, KINDS, Choice, choices, key_for, missing
from acclimate.runtime.durable import sha256
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.engines import MODULES, open_entry
from acclimate.runtime.found import Found, find
from acclimate.runtime.parent import die_with_parent
from acclimate.runtime.plan import load_module


def build_wanted(state: Path, serving: ServingConfig) -> Entry | None:
    """Make the engine ready that `serving` asks for; None where the graph's own file serves.

    Where `auto` may choose, one that cannot be built is told and the next one is tried: a library
    that fails must not keep the machine from serving. Raises AcclimateError kinds.
    """
    found = find()
    possible = _possible(serving.engine, serving.precision, found)
    for choice in possible:
        try:
            _check_capacity(state, choice, serving.capacity)
            return build(state / "engine", choice, serving.capacity, found)
        except (ExportError, EngineError) as error:
            if choice is possible[-1]:
                raise
            say(f"{choice.engine} in {choice.precision}: {error}; trying the next one")
    raise AssertionError("there is always one to try")


def build(graph: Path, choice: Choice, capacity: int, found: Found) -> Entry | None:
    """The verified entry of this engine, built if it is not there; raises AcclimateError kinds.

    What was built, why, how long it took and how far from torch it is goes to stderr.
    """
    info = sound_graph(graph)
    if not needs_building(choice):
        return None
    key = key_for(info, choice, capacity, found)
    _check_possible(key, found)
    try:
        return cache.read(cache.find(graph, key))
    except EngineLoadError as error:
        say(f"building an engine: {str(error).split('; `')[0]}")
    try:
        entry = cache.read(cache.write(graph, key, _Work(graph, info, key, found).build))
    except OSError as error:
        root = cache.cache_of(graph)
        raise ExportError(f"no engine was written to {root}: {error}; nothing is lost") from error
    told = "not compared with torch yet" if entry.parity is None else summary(entry.parity)
    say(
        f"{key.engine} in {key.precision} for up to {key.capacity} strings: {entry.megabytes:.0f} "
        f"MB in {entry.record['seconds']:.0f} s; {told}"
    )
    return entry


def needs_building(choice: Choice) -> bool:
    """ONNX Runtime serves the graph's own file in fp32."""
    return choice.engine in MODULES or choice.precision != "fp32"


def sound_graph(graph: Path) -> EngineInfo:
    """engine.json of a graph whose file is what was exported; raises EngineLoadError."""
    info, path = EngineInfo.load(graph), graph / cache.ONNX
    if not path.is_file() or sha256(path) != info.onnx_sha256:
        raise EngineLoadError(f"{path} is missing or was altered; `acclimate export` makes it anew")
    return info


def measured(graph: Path, entry: Entry) -> dict[str, float]:
    """Open an engine and hold it against the reference; raises EngineError or ParityError."""
    engine = open_entry(graph, entry)
    try:
        parity = measure(engine, reference_of(graph))
    finally:
        engine.close()
    check(parity, entry.key.precision)
    return parity


def _possible(engine: str, precision: str, found: Found) -> list[Choice]:
    """As the runtime chooses; TensorRT for RTX builds ahead of time where there is no GPU."""
    if engine == "tensorrt-rtx" and found.gpu is None:
        chosen = "fp16" if precision == "auto" else precision
        return [Choice(engine, chosen, "asked for, ahead of time")]
    return choices(engine, precision, found)


def _check_capacity(state: Path, choice: Choice, capacity: int) -> None:
    """Raise ExportError where an engine would be too small for its words or for its reference."""
    if choice.engine not in (*MODULES, "onnxruntime-tensorrt"):
        return
    for what, path in (
        ("vocabulary", state / "adapters" / "base" / INPUTS),
        ("graph's reference", state / "engine" / REFERENCE),
    ):
        if (strings := strings_in(path)) > capacity:
            raise ExportError(
                f"the {what} has {strings} strings, serving.capacity is {capacity}; raise it"
            )


def _check_possible(key: Key, found: Found) -> None:
    """Raise ExportError where this library cannot make such an engine."""
    if key.precision == "int8" and key.engine != CPU:
        raise ExportError(
            f"int8 is made for {CPU} only, not for {key.engine}: use fp16, or engine {CPU}"
        )
    if key.precision == "bf16" and key.engine == CPU:
        raise ExportError("onnxruntime-cpu does not compute in bf16: use fp32 or int8")
    if key.engine in MODULES and MODULES[key.engine] not in found.libraries:
        raise ExportError(f"{MODULES[key.engine]} is not installed; {KINDS[key.engine].remedy}")


@dataclass(frozen=True)
class _Work:
    """What the building of one engine needs to know."""

    graph: Path
    info: EngineInfo
    key: Key
    found: Found

    def build(self, folder: Path) -> dict[str, Any]:
        """Write the engine's file; returns the rest of its engine.json."""
        started = time.monotonic()
        if self.key.engine in MODULES:
            self._plan(folder)
        else:
            convert(self.graph / cache.ONNX, folder / cache.ONNX, self.key.precision)
        seconds = time.monotonic() - started
        parity = self._parity(folder)
        return {
            "parity": parity, "tolerances": TOLERANCES[self.key.precision], "clear_margin": CLEAR,
            "seconds": round(seconds, 2),
        }  # fmt: skip

    def _plan(self, folder: Path) -> None:
        source = self.graph / cache.ONNX
        profile = Profile.of(self.info, self.key.capacity)
        if self.key.precision != "fp32":
            source = folder / cache.ONNX
            convert(self.graph / cache.ONNX, source, self.key.precision)
        timing = cache.timing_cache(self.graph, self.key.library)
        timed = timing if self.key.engine == "tensorrt" else None
        memory = self.found.gpu.memory_mb if self.found.gpu else 0
        workspace = min(WORKSPACE, (memory << 20) // 2) or WORKSPACE
        module = load_module(MODULES[self.key.engine])
        write_plan(module, source, folder / cache.PLAN, self.info, profile, timed, say, workspace)
        (folder / cache.ONNX).unlink(missing_ok=True)

    def _parity(self, folder: Path) -> dict[str, float] | None:
        """None where this machine cannot run it."""
        if lacks := missing(self.key.engine, self.found):
            say(
                f"it cannot run here ({lacks.split(';')[0]}): run `acclimate engines verify` "
                "on the machine that is to serve"
            )
            return None
        files = {path.name: "" for path in folder.iterdir()}
        return measured(self.graph, Entry(folder, self.key, files, None, {}))


def strings_in(path: Path) -> int:
    """How many strings the inputs in a file have; 0 where there are none."""
    try:
        with safe_open(path, "np") as file:
            return int(file.get_slice("text").get_shape()[0])
    except (OSError, SafetensorError):
        return 0


def main(arguments: list[str] | None = None) -> int:
    """Process entry; see the module."""
    parser = argparse.ArgumentParser(description="Build an engine from the exported graph.")
    parser.add_argument("--state", type=Path, required=True, help="state folder")
    parser.add_argument("--engine", choices=get_args(EngineName), default="auto")
    parser.add_argument("--precision", choices=get_args(Precision), default="auto")
    parser.add_argument("--capacity", type=int, default=ServingConfig.capacity, metavar="N")
    parser.add_argument("--json", action="store_true", help="say on stdout what serves")
    options = parser.parse_args(arguments)
    die_with_parent()
    wanted = ServingConfig(
        engine=options.engine, precision=options.precision, capacity=options.capacity
    )

    def work() -> None:
        entry = build_wanted(options.state, wanted)
        if options.json:
            print(json.dumps(entry.record | {"folder": str(entry.folder)} if entry else None))

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
