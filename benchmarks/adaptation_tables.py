"""adaptation.json against the targets, and as tables for docs/measured.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Results = Mapping[str, Any]
TARGETS = (
    ("gradual_night", "gain_over_concepts", 10.0), ("night", "gain_over_best_free", 3.0),
    ("gradual_night", "gain_over_best_free", 3.0), ("rain", "gain_over_best_free", 1.5),
    ("dusk", "gain_over_best_free", 0.5), ("fog", "gain_over_best_free", 0.5),
)  # fmt: skip
NEVER_WORSE, ONCE_BETTER, RETURN, EXCHANGE = -0.3, 0.5, -0.5, -0.5


def targets(results: Results) -> list[dict[str, Any]]:
    """What was aimed at, what was measured, whether it was met; None where nothing was measured."""
    return [*_gains(results), *_augmented(results), *_safe(results)]


def _gains(results: Results) -> Iterator[dict[str, Any]]:
    """On the plain base, by shift."""
    for segment, over, needed in TARGETS:
        found = results["details"]["default"].get(segment, {}).get(over)
        what = f"plain base, {segment}: {over.replace('_', ' ')}"
        yield _target(what, needed, found and found[0], found)


def _augmented(results: Results) -> Iterator[dict[str, Any]]:
    """Over the best that is free, on every shift."""
    rows = results["details"]["augmented"].values()
    gains = [r["gain_over_best_free"][0] for r in rows if r["gain_over_best_free"]]
    over = "augmented base, gain over best free"
    yield _target(f"{over}: the least of all shifts", NEVER_WORSE, min(gains, default=None))
    yield _target(f"{over}: the most of all shifts", ONCE_BETTER, max(gains, default=None))


def _safe(results: Results) -> Iterator[dict[str, Any]]:
    """Return to source and exchanges, the worst of all units and rounds."""
    for base in ("default", "augmented"):
        back = [
            one["returned"] for one in results["returns"]
            if (one["base"], one["row"]) == (base, "adapted") and one["returned"] is not None
        ]  # fmt: skip
        yield _target(f"{base}: back in the day, worst stream", RETURN, min(back, default=None))
        worst = results["of_rounds"][base]["worst_exchange"]
        yield _target(f"{base}: what was taken over what it replaced, worst", EXCHANGE, worst)


def _target(what: str, needed: float, measured: Any, interval: Any = None) -> dict[str, Any]:
    met = None if measured is None else measured >= needed
    bounds = interval[1:] if interval else None
    return {"what": what, "at_least": needed, "measured": measured, "interval": bounds, "met": met}


def markdown(results: Results) -> str:
    """Tables for a page: every shift on both bases, targets, rounds."""
    parts = [_shifts(results, base) for base in ("default", "augmented")]
    return "\n\n".join([*filter(None, parts), _targets(results), _rounds(results)])


def _shifts(results: Results, base: str) -> str:
    """One base."""
    key = "summary" if base == "default" else "summary_augmented"
    shifts = results[key]["per_shift"]
    return shifts_table(f"{base} base", shifts, results["details"][base]) if shifts else ""


def shifts_table(title: str, shifts: Results, details: Results) -> str:
    """One line a segment or test."""
    head = ("frozen", "+ concepts", "best free", "adapted", "over concepts", "over best free",
            "best without a gate", "worst class: concepts, free, adapted")  # fmt: skip
    lines = [_line([f"{title}, mIoU %", *head]), "|---" * (len(head) + 1) + "|"]
    for segment, row in shifts.items():
        told, others = details[segment], row["baselines"]
        best = max(others, key=lambda name: others[name], default="")
        numbers = [row[k] for k in ("frozen", "frozen_with_concepts", "best_free", "adapted")]
        gains = [_gain(told[f"gain_over_{over}"]) for over in ("concepts", "best_free")]
        ungated = f"{_number(others[best])} ({best})" if best else ""
        worst = [worst_class(told, row) for row in ("frozen_with_concepts", "best_free", "adapted")]
        lines.append(_line([segment.replace("_", " "), *map(_number, numbers), *gains, ungated,
                            ", ".join(map(_number, worst))]))  # fmt: skip
    return "\n".join(lines)


def worst_class(told: Results, row: str) -> float | None:
    """A segment's details -> IoU of the class that a row knows least, mean over seeds; "best_free"
    is each seed's own."""
    chosen = told["best_free"] if row == "best_free" else dict.fromkeys(told["best_free"], row)
    rows = told["rows"]
    found = [rows[name][s]["worst"][1] for s, name in chosen.items() if s in rows.get(name, {})]
    return float(np.mean(found)) if found else None


def _targets(results: Results) -> str:
    words = {True: "yes", False: "no", None: "not measured"}
    lines = [_line(["target", "at least", "measured", "met"]), "|---|---|---|---|"]
    for one in results["targets"]:
        measured = _gain([one["measured"], *(one["interval"] or ())])
        lines.append(_line([one["what"], f"{one['at_least']:+g}", measured, words[one["met"]]]))
    return "\n".join(lines)


def _rounds(results: Results) -> str:
    lines = [
        _line(["rounds", "verdicts", "recalls", "median s", "longest s", "peak MB"]),
        "|---" * 6 + "|",
    ]
    for base, told in results["of_rounds"].items():
        verdicts = ", ".join(f"{n} {what}" for what, n in told["verdicts"].items())
        rest = [told[k] for k in ("recalls", "seconds_median", "seconds_max", "peak_mb")]
        lines.append(_line([base, verdicts, *("" if x is None else f"{x:.0f}" for x in rest)]))
    return "\n".join(lines)


def _gain(found: Any) -> str:
    if not found or found[0] is None:
        return ""
    bounds = f" [{found[1]:+.1f}, {found[2]:+.1f}]" if len(found) == 3 else ""
    return f"{found[0]:+.1f}{bounds}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
