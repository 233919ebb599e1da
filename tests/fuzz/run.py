"""`python -m tests.fuzz.run [TARGET ...] [--seconds N]`: go on looking, led by coverage (Atheris).

Each target runs in a process of its own, over again after each finding, on what the corpus keeps.
Findings lie in build/fuzz/TARGET; what reaches code that nothing reached before stays in the corpus
with --keep, in its smallest form. Written to fuzz.json in benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.fuzz.kept import CORPUS, keep
from tests.fuzz.targets import TARGETS, target

WORK, DICTIONARY = Path("build/fuzz"), Path(__file__).with_name("odd.dict")
SLOWEST, MOST_MB, MOST_BYTES = 30, 2500, 65536
LIMITS = [f"-timeout={SLOWEST}", f"-rss_limit_mb={MOST_MB}", f"-max_len={MOST_BYTES}"]
LIGHT = ("acclimate", "mcap", "rosbags", "yaml", "google", "h11", "uvicorn", "fastapi")
KEPT_BYTES = 16384  # larger ones are not worth their place in a repository


def child(name: str, options: list[str]) -> None:
    """Become the fuzzer of one target: `options` are libFuzzer's, after its own name."""
    import atheris

    with atheris.instrument_imports(include=list(LIGHT)):
        tried = target(name)

    def one(data: bytes) -> None:
        try:
            tried(data)
        except Exception as error:
            print(f"FINDING {type(error).__name__}: {error!s:.300}", flush=True)
            raise

    atheris.Setup(options, one)
    atheris.Fuzz()


def fuzz(name: str, seconds: int) -> dict[str, Any]:
    """Executions, seconds and findings of one target."""
    folder = WORK / name
    for one in ("new", "found"):
        (folder / one).mkdir(parents=True, exist_ok=True)
    begun, runs, findings = time.monotonic(), 0, set()
    while (left := round(begun + seconds - time.monotonic())) > 0:
        said = _call(name, f"-max_total_time={left}", f"-artifact_prefix={folder}/found/",
                     f"-dict={DICTIONARY}", str(folder / "new"), str(CORPUS / name))  # fmt: skip
        runs += max([0, *(int(n) for n in re.findall(r"^#(\d+)", said, re.MULTILINE))])
        found = re.findall(r"^(?:FINDING|SUMMARY:) .*", said, re.MULTILINE)
        findings |= set(found[:1])
        if not found or not runs:  # time is up, or it cannot even begin
            print(said[-2000:] if not runs else "", end="")
            break
    took = round(time.monotonic() - begun)
    return {"executions": runs, "seconds": took, "findings": sorted(findings)}


def merge(name: str) -> int:
    """Add to the corpus what reaches new code; returns how many."""
    smallest = WORK / name / "merged"
    smallest.mkdir(parents=True, exist_ok=True)
    _call(name, "-merge=1", str(smallest), str(CORPUS / name), str(WORK / name / "new"))
    known = {path.name for path in (CORPUS / name).iterdir()}
    fresh = [p.read_bytes() for p in smallest.iterdir() if p.stat().st_size <= KEPT_BYTES]
    return len({keep(CORPUS / name, content).name for content in fresh} - known)


def _call(name: str, *options: str) -> str:
    done = subprocess.run(
        [_launcher(name), *LIMITS, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        errors="replace", env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    return done.stdout


def _launcher(name: str) -> Path:
    """A program that is one target's fuzzer: libFuzzer starts itself again to merge."""
    path = (WORK / name / "fuzz").absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    command = f"{sys.executable} -W ignore -m tests.fuzz.run --child {name}"
    path.write_text(f'#!/bin/sh\nexec {command} -- {path} "$@"\n')
    path.chmod(0o755)
    return path


def record(file: Path, rows: dict[str, Any], settings: dict[str, Any]) -> None:
    """Beside what other benchmarks write; targets that did not run keep their numbers."""
    from benchmarks.machine import machine

    before = json.loads(file.read_text())["rows"] if file.exists() else {}
    rows = {name: row for name, row in {**before, **rows}.items() if name in TARGETS}
    total = {key: sum(row[key] for row in rows.values()) for key in ("executions", "seconds")}
    total["findings"] = sum(len(row["findings"]) for row in rows.values())
    where = machine() | {"atheris": version("atheris")}
    told = {"machine": where, "settings": settings, "summary": total, "rows": rows}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told, indent=1) + "\n")


def main() -> int:
    """Exit code 1 for findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="what reaches new code")
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: in benchmarks/results")
    parser.add_argument("--child", choices=TARGETS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.targets)
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    rows = {}
    for name in options.targets or TARGETS:
        rows[name] = row = fuzz(name, options.seconds)
        kept = f", {merge(name)} kept" if options.keep else ""
        print(f"{name:<12}{row['executions']:>9} in {row['seconds']} s{kept}", flush=True)
        print("".join(f"    {one}\n" for one in row["findings"]), end="", flush=True)
    from benchmarks.machine import results_folder

    file = options.json or results_folder() / "fuzz.json"
    record(file, rows, {"slowest_s": SLOWEST, "most_mb": MOST_MB})
    return 1 if any(row["findings"] for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
