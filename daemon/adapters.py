"""`acclimate adapters`: what there is, what each is made of, who put what into service and why."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from acclimate.daemon.commands import known
from acclimate.daemon.journal import history
from acclimate.daemon.registry import Registry
from acclimate.daemon.status import clock, earned
from acclimate.daemon.steer import existing, quarantine_action, reasoned, rollback_command

WIDTH = 96


def list_action(options: argparse.Namespace) -> int:
    """Every adapter on disk."""
    registry = Registry(existing(options.state))
    print(f"{'adapter':<10}{'state':<13}{'parent':<10}{'made':<18}earned")
    for name in registry.names():
        made = registry.manifest(name) or {}
        when = clock(made.get("created", 0))[:16]
        story = earned(registry.card(name)) or ""
        parent = made.get("parent") or "-"
        print(f"{name:<10}{registry.word_for(name):<13}{parent:<10}{when:<18}{story}".rstrip())
    return 0


def show_action(options: argparse.Namespace) -> int:
    """An adapter's model card: what it is, learned from, was judged by, and its digests."""
    registry = Registry(existing(options.state))
    made = known(registry, options.id)
    if options.json:
        print(json.dumps(manifest(registry, options.id, made), indent=1))
    else:
        print(card(registry, options.id, made))
    return 0


def manifest(registry: Registry, name: str, made: dict[str, Any]) -> dict[str, Any]:
    """The manifest with the adapter's state before it."""
    story = {"state": registry.word_for(name), "folder": str(registry.folder_of(name))}
    if reason := registry.state.quarantined.get(name):
        story["reason"] = reason
    return {**story, **{key: value for key, value in made.items() if key != "condition"}}


def card(registry: Registry, name: str, made: dict[str, Any]) -> str:
    """The same for people, as two columns."""
    state, reason = registry.word_for(name), registry.state.quarantined.get(name)
    pinned = ", pinned" if registry.state.pinned == name else ""
    rows: dict[str, str | list[str]] = {
        "adapter": f"{name}, {made.get('kind', '?')}",
        "state": f"{state}{pinned}" + (f": {reason}" if reason else ""),
        "made": clock(made.get("created")).strip(),
        "parent": str(made.get("parent") or "-"),
        "earned": earned(registry.card(name)) or "-",
        **_learned(made), **_judged(made.get("verdict") or {}),
        "base": str(made.get("base_digest", "-")),
        "vocabulary": str(made.get("vocabulary_digest") or "-"),
        "folder": str(registry.folder_of(name)),
    }  # fmt: skip
    lines = [f"sha256 {digest[:16]}  {file}" for file, digest in sorted(_files(made).items())]
    return columns(rows | {"files": lines})


def _files(made: dict[str, Any]) -> dict[str, str]:
    return made.get("files") or {}


def _learned(made: dict[str, Any]) -> dict[str, str]:
    """What it was trained on, and how long."""
    training, frames = made.get("training") or {}, made.get("buffer") or {}
    rows = {}
    if made.get("is"):
        rows["what it is"] = f"nothing was learned: {made['is']} was best"
    if training:
        numbers = {k: v for k, v in training.items() if not isinstance(v, list | dict)}
        rows["training"] = ", ".join(
            f"{k.replace('_', ' ')} {_short(v)}" for k, v in numbers.items()
        )
    if frames:
        rows["frames"] = (
            f"{frames.get('frames')} of the buffer, sha256 of their names {frames.get('digest')}"
        )
    elif isinstance(stems := training.get("frames"), list):
        rows["frames"] = f"{len(stems)} of the buffer"
    return rows


def _judged(verdict: dict[str, Any]) -> dict[str, str]:
    """The gate's numbers."""
    if not verdict:
        return {}
    word = "accepted" if verdict.get("accepted") else "not accepted"
    word = "better than what served, for nothing" if verdict.get("instead") else word
    rows = {"gate": "; ".join([word, *map(str, verdict.get("reasons", ()))])}
    numbers = verdict.get("numbers") or {}
    if numbers:
        told = (f"{k.replace('_', ' ')} {_short(v)}" for k, v in numbers.items())
        rows["numbers"] = ", ".join(told)
    return rows


def history_action(options: argparse.Namespace) -> int:
    """Every change of what is served: when, by whom, from what, to what, why."""
    rows = list(history(existing(options.state) / "events.jsonl"))
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    if not rows:
        print("what serves was never changed")
        return 0
    wide = max(len(str(row["actor"])) for row in rows)
    print(f"{'time':<21}{'actor':<{wide + 2}}{'from':<8}{'to':<8}reason")
    for row in rows:
        line = f"{clock(row['time']):<21}{row['actor']:<{wide + 2}}{row['from']:<8}{row['to']:<8}"
        print(line + str(row["reason"]))
    return 0


def columns(rows: Mapping[str, str | list[str]]) -> str:
    """Two columns, the second one wrapped; a list is as many lines."""
    wide = max(map(len, rows)) + 2
    lines = []
    for name, value in rows.items():
        lines_of = textwrap.wrap(value, WIDTH - wide) if isinstance(value, str) else value
        parts = lines_of or ["-"]
        labels = [name, *[""] * (len(parts) - 1)]
        lines += [f"{label:<{wide}}{part}" for label, part in zip(labels, parts, strict=True)]
    return "\n".join(lines)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def add_commands(commands: Any, add: Callable[..., Any], common: argparse.ArgumentParser) -> Any:
    """`acclimate adapters list|show|history|rollback|quarantine`; where others can be added."""
    text = "List, show, try, roll back, quarantine adapters; their history; take them along."
    adapters = commands.add_parser("adapters", help=text, description=text)
    kinds = adapters.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add(kinds, "list", list_action, [common])
    one = add(kinds, "show", show_action, [common])
    one.add_argument("id", metavar="ID")
    one.add_argument("--json", action="store_true", help="the manifest, for programs")
    one = add(kinds, "history", history_action, [common])
    one.add_argument("--json", action="store_true", help="for programs")
    rollback_command(kinds, add, [common])
    reasoned(add(kinds, "quarantine", quarantine_action, [common])).add_argument("id", metavar="ID")
    return kinds
