"""What rounds did, and whether the day is as it was when the stream comes back to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.adaptation_plan import FREE, WHOLE
from benchmarks.adaptation_rows import CONCEPTS
from benchmarks.evidence import BEFORE, Found, miou, short


def all_rounds(found: Found) -> list[dict[str, Any]]:
    """Of the whole system, with the true mIoU before and after each on its segment's scenes."""
    listed = []
    for unit, result in found.items():
        for told in result["rounds"] if unit.row == WHOLE else ():
            before, after = (
                miou(np.asarray(result["tables"][row][told["segment"]])) for row in (BEFORE, WHOLE)
            )  # fmt: skip
            where = {"base": unit.base, "stream": unit.stream, "seed": unit.seed}
            row = where | {"miou_before": before, "miou_after": after} | told
            listed.append(row | {"change": short(row["miou_after"] - row["miou_before"])})
    return listed


def of_rounds(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts by verdict, recalls, seconds, memory, the worst exchange."""
    ran = [told for told in rounds if told["verdict"] != "none"]
    taken = [told["change"] for told in ran if told["verdict"] in ("accepted", "instead")]
    seconds = [told["seconds"] for told in ran if "seconds" in told]
    return {
        "verdicts": dict(Counter(told["verdict"] for told in ran)),
        "recalls": sum(len(told["recalled"]) for told in rounds),
        "seconds_median": short(np.median(seconds)) if seconds else None,
        "seconds_max": max(seconds, default=None),
        "peak_mb": max((told["peak_mb"] for told in ran if "peak_mb" in told), default=None),
        "worst_exchange": min(taken, default=None),
        "worst_accepted": min(
            (told["change"] for told in ran if told["verdict"] == "accepted"), default=None
        ),
    }


def returns(found: Found, days: Mapping[str, tuple[str, str | None]]) -> list[dict[str, Any]]:
    """By unit: mIoU by day in the beginning (of the base), once the stream is back in the day, and
    of what served in the end if it met the day at once. `days` are a stream's first and last."""
    listed = []
    for unit, result in found.items():
        if unit.row == FREE or unit.stream not in days:
            continue
        first, last = days[unit.stream]
        start = found.get(unit._replace(row=FREE))
        if start is None:
            continue
        said, before = result["tables"][unit.row], _of(start["tables"][CONCEPTS][first])
        back = short(_of(said[last]) - before) if last else None
        end = short(_of(result["day_in_the_end"]) - before)
        listed.append(unit._asdict() | {"before": before, "returned": back, "end_on_day": end})
    return listed


def _of(table: Any) -> float:
    return miou(np.asarray(table, float))
