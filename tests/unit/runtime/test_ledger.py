"""The ledger: every captured frame is served or dropped for a reason."""

from __future__ import annotations

import json
import threading

from acclimate.runtime.ledger import Ledger


def test_a_new_ledger_balances() -> None:
    assert Ledger().totals() == {"captured": 0, "served": 0, "dropped": {}, "balanced": True}


def test_reasons_are_counted_apart() -> None:
    ledger = Ledger()
    for reason in ("superseded", "stopped", "superseded"):
        ledger.capture()
        ledger.drop(reason)
    ledger.capture()
    ledger.serve()
    assert ledger.totals() == {
        "captured": 4, "served": 1, "dropped": {"superseded": 2, "stopped": 1}, "balanced": True,
    }  # fmt: skip


def test_a_frame_on_its_way_or_counted_twice_is_seen() -> None:
    ledger = Ledger()
    ledger.capture()
    assert not ledger.totals()["balanced"]
    ledger.serve()
    assert ledger.totals()["balanced"]
    ledger.drop("stopped")
    assert not ledger.totals()["balanced"]


def test_totals_are_a_copy_that_json_takes() -> None:
    ledger = Ledger()
    ledger.drop("stopped")
    before = ledger.totals()
    ledger.drop("stopped")
    assert before["dropped"] == {"stopped": 1}
    assert json.loads(json.dumps(before)) == before


def test_eight_threads_lose_no_count() -> None:
    ledger = Ledger()

    def work(number: int) -> None:
        for step in range(2000):
            ledger.capture()
            if (step + number) % 2:
                ledger.serve()
            else:
                ledger.drop(f"reason {number % 3}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    totals = ledger.totals()
    assert (totals["captured"], totals["served"], totals["balanced"]) == (16000, 8000, True)
    assert sum(totals["dropped"].values()) == 8000
