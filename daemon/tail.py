"""`acclimate events`: the event log as sentences."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from acclimate.daemon.journal import follow, read
from acclimate.daemon.status import LOG_ONLY, dated
from acclimate.daemon.steer import existing, seconds


def events_action(options: argparse.Namespace) -> int:
    """Tell what happened and why, from the event log."""
    log = existing(options.state) / "events.jsonl"
    rows = (follow if options.follow else read)(log, options.since, options.kind)
    for row in rows:
        if options.json:
            print(json.dumps(row), flush=True)
        elif options.kind is not None or row["event"] not in LOG_ONLY:
            print(dated(row), flush=True)
    return 0


def moment(text: str) -> float:
    """Unix time of a span before now (10m) or of a date (2026-11-21, 2026-11-21T20:15); raises
    ValueError, which argparse turns into wrong usage."""
    try:
        return time.time() - seconds(text)
    except ValueError:
        return datetime.fromisoformat(text).timestamp()


def add_commands(commands: Any, add: Callable[..., Any], common: argparse.ArgumentParser) -> None:
    """`acclimate events`."""
    one = add(commands, "events", events_action, [common])
    one.add_argument(
        "--since", type=moment, default=0.0, metavar="T", help="90s, 10m, 2h, 1d ago, or a date: "
        "2026-11-21T20:15",
    )  # fmt: skip
    one.add_argument("--follow", action="store_true", help="go on as they come")
    one.add_argument("--kind", metavar="K", help="only this kind, such as swapped or round_ended")
    one.add_argument("--json", action="store_true", help="the lines themselves, for programs")
