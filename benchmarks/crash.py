"""`benchmarks/crash.py [--quick] [--json FILE]`: what crashes leave of registry, buffer and events.

A life of rounds, rollbacks, other words and removals is ended before, in the middle of and after
every change of a file: by `kill -9`, and by a power cut after which only what was fsynced is sure
to be there (with three kinds of luck for the rest). Then the daemon itself starts on what
is left. Real processes are killed at random moments, and disks refuse: full, failing, read-only,
forbidden, too many open files. Written to crash.json in benchmarks/results.
"""

from __future__ import annotations

import argparse
import errno
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.crash_runs import Count, killed, killed_buffer, killed_for_real, refused
from benchmarks.crash_story import ACTIONS
from benchmarks.machine import machine, results_folder

REFUSALS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE)
QUICK = {"step": 40, "seeds": 1, "actions": 6, "lives": 5}
FULL = {"step": 1, "seeds": 3, "actions": 13, "lives": 60}
Part = tuple[str, Callable[[Path], Count]]


def parts(settings: dict[str, int]) -> Iterator[Part]:
    """Each kind of end and how to bring it about: the script, then lives by chance."""
    step = settings["step"]
    lives = [by_chance(seed, settings["actions"]) for seed in range(settings["seeds"])]
    for power, how in ((False, "kill -9"), (True, "power cut")):
        yield how, partial(killed, step=step, power=power)
        for seed, actions in enumerate(lives):
            yield how, partial(killed, actions=actions, seed=seed, step=5 * step, power=power)
        yield f"{how}, buffer", partial(killed_buffer, step=step, power=power)
    yield "kill -9, real processes", partial(killed_for_real, lives=settings["lives"], seed=0)
    for number in REFUSALS:
        for times in (1, 10**9):
            name = f"disk refuses, {errno.errorcode[number]}"
            yield name, partial(refused, number=number, step=5 * step, count_of=times)


def by_chance(seed: int, count: int) -> tuple[str, ...]:
    """Another life."""
    return tuple(random.Random(seed).choices(ACTIONS, k=count))


def measure(settings: dict[str, int]) -> dict[str, Any]:
    """Runs, kill points and violations, by how the lives ended."""
    rows: dict[str, dict[str, Any]] = {}
    for name, play in parts(settings):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as work:
            count = play(Path(work))
        row = rows.setdefault(name, {"runs": 0, "kill_points": 0, "violations": 0, "seconds": 0.0})
        row["runs"] += count.runs
        row["kill_points"] += count.kill_points
        row["violations"] += len(count.found)
        row["seconds"] = round(row["seconds"] + time.monotonic() - started, 1)
        for one in count.found:
            print(f"VIOLATION {one}", flush=True)
    return rows


def table(rows: dict[str, Any]) -> str:
    """The report for the terminal."""
    head = f"{'':<28}{'runs':>8}{'kill points':>13}{'violations':>12}"
    lines = [
        f"{name:<28}{row['runs']:>8}{row['kill_points']:>13}{row['violations']:>12}"
        for name, row in rows.items()
    ]
    return "\n".join([head, *lines])


def totals(rows: dict[str, Any]) -> dict[str, int]:
    """Over all kinds."""
    return {
        key: sum(row[key] for row in rows.values()) for key in ("runs", "kill_points", "violations")
    }


def main() -> int:
    """All of it, or a part in every 40."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: in benchmarks/results")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    file: Path = options.json or results_folder() / "crash.json"
    settings, where = QUICK if options.quick else FULL, machine()
    rows = measure(settings)
    whole = totals(rows)
    print(table({**rows, "all": whole}))
    results = {"machine": where, "settings": settings, "summary": whole, "rows": rows}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if whole["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
