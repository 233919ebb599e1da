"""What an operator tells acclimate: by the running daemon's socket, or on disk where none runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acclimate.daemon.client import holder_of
from acclimate.daemon.commands import known
from acclimate.daemon.events import EventLog
from acclimate.daemon.inbox import Wish
from acclimate.daemon.on_disk import done_on_disk
from acclimate.daemon.registry import Registry
from acclimate.daemon.unix import user_name
from acclimate.errors import ConfigError


def pause_action(options: argparse.Namespace) -> int:
    """Start no new rounds and cancel a running one; serving goes on, restarts change nothing."""
    return tell(options, {"do": "pause", "seconds": options.seconds}, "POST", "pause", "seconds")


def resume_action(options: argparse.Namespace) -> int:
    """Let rounds start again."""
    return tell(options, {"do": "resume"}, "POST", "resume")


def adapt_now_action(options: argparse.Namespace) -> int:
    """Start a round now, whatever the drift; says what forbids it."""
    return tell(options, {"do": "adapt"}, "POST", "adapt-now")


def rollback_action(options: argparse.Namespace) -> int:
    """Quarantine the active adapter and serve an older one."""
    return tell(options, {"do": "rollback", "to": options.to}, "POST", "rollback", "to")


def quarantine_action(options: argparse.Namespace) -> int:
    """Never serve an adapter again; if it is active, roll back."""
    known(Registry(existing(options.state)), options.id)
    wish = {"do": "quarantine", "id": options.id}
    return tell(options, wish, "POST", f"adapters/{options.id}/quarantine")


def pin_action(options: argparse.Namespace) -> int:
    """Serve this adapter and let no round and no recall replace it."""
    if (options.id is None) != options.off:
        options.fail("give an ID, or --off")
    if options.off:
        return tell(options, {"do": "pin", "id": None}, "DELETE", "pin")
    return tell(options, {"do": "pin", "id": options.id}, "PUT", "pin", "id")


def tell(options: argparse.Namespace, wish: Wish, method: str, path: str, *body: str) -> int:
    """Wish it, say what was done; `body` names what of the wish goes into the request's body."""
    state = existing(options.state)
    given = wish | ({"reason": options.reason} if getattr(options, "reason", None) else {})
    with holder_of(state) as daemon:
        if daemon is None:
            events = EventLog(state / "events.jsonl", lambda _: None)
            print(done_on_disk(Registry(state), events, given, f"user {user_name(os.geteuid())}"))
        else:
            sent = {k: given[k] for k in (*body, "reason") if given.get(k) is not None}
            told = daemon.call(method, f"/v1/{path}", sent if method != "DELETE" else None)
            print(told["message"])
    return 0


def existing(state: Path) -> Path:
    """The state folder; raises ConfigError when nothing ever ran there."""
    if not state.is_dir():
        raise ConfigError([f"no state folder {state}; start `acclimate run` or give --state"])
    return state


def rollback_command(where: Any, add: Callable[..., Any], parents: list[Any]) -> None:
    """`rollback`, at the top and under `adapters`."""
    one = reasoned(add(where, "rollback", rollback_action, parents))
    one.add_argument("--to", metavar="ID", help="an older adapter or base (default: the last good)")


def reasoned(one: Any) -> Any:
    """With --reason."""
    one.add_argument("--reason", metavar="TEXT", help="for the event log and the history")
    return one


def add_commands(commands: Any, add: Callable[..., Any], common: argparse.ArgumentParser) -> None:
    """pause, resume, adapt-now, rollback, pin."""
    one = reasoned(add(commands, "pause", pause_action, [common]))
    one.add_argument(
        "--for", dest="seconds", type=seconds, metavar="S", help="seconds, or 10m, 2h, 1d "
        "(default: until `acclimate resume`)",
    )  # fmt: skip
    reasoned(add(commands, "resume", resume_action, [common]))
    reasoned(add(commands, "adapt-now", adapt_now_action, [common]))
    rollback_command(commands, add, [common])
    one = reasoned(add(commands, "pin", pin_action, [common]))
    one.add_argument("id", nargs="?", metavar="ID")
    one.add_argument("--off", action="store_true", help="what serves may be replaced again")
    one.set_defaults(fail=one.error)


def seconds(text: str) -> float:
    """A span: 90, 90s, 10m, 2h, 1d; raises ValueError, which argparse turns into wrong usage."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    span = float(text[:-1]) * units[text[-1]] if text[-1:] in units else float(text)
    if not 0 < span <= 366 * 86400:
        raise ValueError(f"{text} is not between 0 and a year")
    return span
