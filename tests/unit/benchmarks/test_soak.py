"""What a soak says of what was held."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.soak import LIMITS, frames_of, growth, held
from benchmarks.soak_plot import plot


def rows(count: int, **slope: float) -> list[dict[str, float]]:
    """Samples that grow by so much each."""
    names = [*LIMITS, "latency_p50_ms", "latency_p99_ms"]
    return [{"t": 2.0 * i, "cycles": 3 * i, **{name: 50 + slope.get(name, 0) * i for name in names}}
            for i in range(count)]  # fmt: skip


def test_what_grows_is_seen_and_what_was_high_at_first_is_not() -> None:
    flat = rows(80)
    flat[0]["runtime_mib"] = 500
    assert set(growth(flat).values()) == {0.0}
    grown = growth(rows(80, runtime_mib=0.2, daemon_descriptors=0.1))
    assert grown["runtime_mib"] == 8.0
    assert (
        grown["runtime_mib"]
        <= LIMITS["runtime_mib"]
        < growth(rows(80, runtime_mib=0.3))["runtime_mib"]
    )
    assert grown["daemon_descriptors"] == 4.0 > LIMITS["daemon_descriptors"]


def test_an_open_file_is_held() -> None:
    before = held(os.getpid())
    with Path(__file__).open() as _:
        assert held(os.getpid())["descriptors"] == before["descriptors"] + 1
    assert before["mib"] > 10


def test_frames_are_as_many_as_asked_for(tmp_path: Path) -> None:
    folder = frames_of(tmp_path, 130)
    assert len(list(folder.iterdir())) == 130
    assert all(path.is_file() for path in folder.iterdir())


def test_the_plot_is_written(tmp_path: Path) -> None:
    results = {"samples": rows(9), "ledger": {"served": 9, "captured": 9}, "swaps": 4}
    plot(results, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").stat().st_size > 10000
