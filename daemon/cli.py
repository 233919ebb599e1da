"""The command `acclimate`. Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from acclimate import __version__
from acclimate.configs.schema import Config, load_config
from acclimate.configs.vocabulary import load_served
from acclimate.daemon import engines, reproduce, vocab, weights
from acclimate.daemon.commands import done_on_disk
from acclimate.daemon.inbox import Inbox
from acclimate.daemon.jobs import evaluate_options, job_action, segment_options
from acclimate.daemon.main import check, only_one, run, with_source
from acclimate.daemon.registry import Registry
from acclimate.daemon.status import earned, read_status, sentence, table
from acclimate.errors import AcclimateError, ConfigError, SwapRefused

EX_CONFIG = 78
PATIENCE = 20.0


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    options = parser().parse_args(arguments)
    try:
        return int(options.action(options))
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return EX_CONFIG
    except (AcclimateError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def configuration(options: argparse.Namespace) -> Config:
    """--config, or the defaults; the vocabulary is checked with it."""
    config = load_config(options.config) if options.config else Config()
    load_served(config.model.vocabulary)
    return config


def run_action(options: argparse.Namespace) -> int:
    """Serve and adapt until the source ends, --duration is over or a signal comes."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def tell(event: dict[str, Any]) -> None:
        if (line := sentence(event)) is not None:
            print(line, flush=True)

    config = with_source(configuration(options), options.source)
    last = run(config, options.state, options.out, options.duration, tell, stop=stop)
    if options.out:
        print(f"written to {options.out}")
    if not last["frames"]["captured"]:
        print("error: no frame was captured; is the source right?", file=sys.stderr)
        return 1
    return 0 if last["frames"]["balanced"] else 1


def status_action(options: argparse.Namespace) -> int:
    """What the daemon on --state is doing."""
    status = read_status(existing(options.state))
    print(json.dumps(status, indent=1) if options.json else table(status))
    return 0


def list_action(options: argparse.Namespace) -> int:
    """Every adapter on disk."""
    registry = Registry(existing(options.state))
    print(f"{'adapter':<10}{'state':<13}{'parent':<10}{'made':<18}earned")
    for name in registry.names():
        made = registry.manifest(name) or {}
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(made.get("created", 0)))
        story = earned(registry.card(name)) or ""
        parent = made.get("parent") or "-"
        print(f"{name:<10}{registry.word_for(name):<13}{parent:<10}{when:<18}{story}")
    return 0


def show_action(options: argparse.Namespace) -> int:
    """An adapter's manifest: parent, training, gate report, files."""
    registry = Registry(existing(options.state))
    made = known(registry, options.id)
    story = {"state": registry.word_for(options.id), "folder": str(registry.folder_of(options.id))}
    if reason := registry.state.quarantined.get(options.id):
        story["reason"] = reason
    manifest = {key: value for key, value in made.items() if key != "condition"}
    print(json.dumps({**story, **manifest}, indent=1))
    return 0


def rollback_action(options: argparse.Namespace) -> int:
    """Quarantine the active adapter and serve an older one."""
    registry = Registry(existing(options.state))
    target = options.to or registry.way_back()
    known(registry, target)
    if target == registry.state.active:
        raise SwapRefused(f"{target} is what serves already")
    if target in registry.state.quarantined:
        raise SwapRefused(f"{target} is quarantined: {registry.state.quarantined[target]}")
    return ask(options.state, {"do": "rollback", "to": target}, "active", target)


def quarantine_action(options: argparse.Namespace) -> int:
    """Never serve an adapter again; if it is active, roll back."""
    registry = Registry(existing(options.state))
    known(registry, options.id)
    if options.id == "base":
        raise SwapRefused("the base cannot be quarantined; it is what is left to fall back to")
    return ask(options.state, {"do": "quarantine", "id": options.id}, "quarantined", options.id)


def ask(state: Path, wish: dict[str, Any], field: str, value: str) -> int:
    """Let the running daemon do it and wait until it is done; without one, do it on disk."""
    try:
        with only_one(state):
            done_on_disk(Registry(state), wish)
    except ConfigError:
        Inbox(state / "inbox").put(wish)
        deadline = time.monotonic() + PATIENCE
        while value not in _as_list(read_status(state).get(field)):
            if time.monotonic() > deadline:
                raise SwapRefused("the daemon did not do it; see `acclimate status`") from None
            time.sleep(0.2)
    print(f"done: {field} {value}")
    return 0


def check_action(options: argparse.Namespace) -> int:
    """Every problem of a configuration file at once."""
    whole = check(configuration(options))
    unseen = "" if whole else "; weights and words longer than 77 tokens show where torch is"
    print(f"{options.config} is sound{unseen}")
    return 0


def existing(state: Path) -> Path:
    """The state folder; raises ConfigError when nothing ever ran there."""
    if not state.is_dir():
        raise ConfigError([f"no state folder {state}; start `acclimate run` or give --state"])
    return state


def known(registry: Registry, name: str) -> dict[str, Any]:
    """An adapter's manifest; raises SwapRefused naming those there are."""
    manifest = registry.manifest(name)
    if manifest is None:
        raise SwapRefused(f"there is no adapter {name}; there are {', '.join(registry.names())}")
    return manifest


def _as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, dict | list) else [value]


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    top = argparse.ArgumentParser(
        prog="acclimate",
        description="Serve open-vocabulary segmentation and keep it adapted to where it drives.",
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--state", type=Path, default=Path("state"), metavar="DIR",
        help="engine, adapters, buffer and log live here (default: ./state)",
    )  # fmt: skip
    configured = argparse.ArgumentParser(add_help=False)
    configured.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML; defaults serve the embedded model"
    )

    def add(where: Any, name: str, action: Any, parents: list[Any], **extra: Any) -> Any:
        text = (action.__doc__ or "").strip().splitlines()[0]
        text = extra.pop("help", text)
        sub = where.add_parser(name, parents=parents, help=text, description=text, **extra)
        sub.set_defaults(action=action)
        return sub

    one = add(commands, "run", run_action, [common, configured])
    one.add_argument(
        "--source", metavar="SOURCE", help="film, folder of images, rtsp://..., camera number, "
        "or world:SPEC such as world:seed=3,shift=night,strength=0@20/0.95@120",
    )  # fmt: skip
    one.add_argument("--duration", type=float, metavar="S", help="stop after S seconds")
    one.add_argument("--out", type=Path, metavar="DIR", help="write overlay.mp4 and labels here")

    one = add(commands, "status", status_action, [common])
    one.add_argument("--json", action="store_true", help="for programs")

    text = "List, show, roll back, quarantine adapters."
    adapters = commands.add_parser("adapters", help=text, description=text)
    kinds = adapters.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add(kinds, "list", list_action, [common])
    add(kinds, "show", show_action, [common]).add_argument("id", metavar="ID")
    one = add(kinds, "rollback", rollback_action, [common])
    one.add_argument("--to", metavar="ID", help="an older adapter or base (default: the last good)")
    add(kinds, "quarantine", quarantine_action, [common]).add_argument("id", metavar="ID")

    text = "Write label maps, overlays and areas of an image, a folder or a film."
    segment_options(add(commands, "segment", job_action, [common, configured], help=text))
    text = "Score an adapter on labelled images: IoU, accuracy, boundary IoU."
    evaluate_options(add(commands, "evaluate", job_action, [common, configured], help=text))

    engines.add_commands(commands, add, common, configured)
    vocab.add_commands(commands, add, common)
    weights.add_commands(commands, add)
    reproduce.add_commands(commands, add)
    one = add(commands, "check-config", check_action, [])
    one.add_argument("config", type=Path, metavar="FILE")
    return top


if __name__ == "__main__":
    sys.exit(main())
