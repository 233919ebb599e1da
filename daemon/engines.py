"""`acclimate export` and `acclimate engines`: build ahead what serves, show, check, remove it."""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any, get_args

from acclimate.configs.schema import Config, load_config, parse_config, to_dict
from acclimate.configs.serving import EngineName, Precision
from acclimate.configs.vocabulary import load_served
from acclimate.daemon.main import only_one, prepare
from acclimate.daemon.processes import command
from acclimate.errors import ConfigError

SETTINGS = ("engine", "precision", "capacity")


def export_action(options: argparse.Namespace) -> int:
    """Make everything that serving needs: the graph, the base bundle, the engine."""
    config = wanted(options)
    with only_one(options.state):
        before = _made(options.state)
        prepare(config, options.state)
        if _made(options.state) == before:
            print(f"nothing to do: all that this configuration needs is in {options.state}")
    return 0


def wanted(options: argparse.Namespace) -> Config:
    """--config, or what the state folder was prepared with, or the defaults; then the options.

    Raises ConfigError with every problem.
    """
    config = configured(options)
    given = {k: v for k in SETTINGS if (v := getattr(options, k)) is not None}
    if "engine" in given:
        given = {"precision": "auto", **given}  # another's precision is not asked of this one
    raw = to_dict(config)
    config = parse_config(raw | {"serving": raw["serving"] | given})
    load_served(config.model.vocabulary)
    return config


def engines_action(options: argparse.Namespace) -> int:
    """Another process opens engines: this one knows no library."""
    arguments = [options.verb, "--state", str(options.state)]
    arguments += [f"--{flag}" for flag in ("json", "all") if getattr(options, flag, False)]
    return subprocess.run(command("engines", arguments), check=False).returncode


def configured(options: argparse.Namespace) -> Config:
    """--config, or what the state folder was prepared with, or the defaults."""
    if options.config is not None:
        return load_config(options.config)
    prepared = options.state / "config.json"
    if not prepared.is_file():
        return Config()
    try:
        return parse_config(json.loads(prepared.read_text()))
    except ValueError as error:
        raise ConfigError([f"{prepared} is torn ({error}); give --config"]) from error


def _made(state: Path) -> dict[Path, int]:
    """When each record was written."""
    records = ("engine/engine.json", "adapters/base/manifest.json", "engines/*/engine.json")
    return {path: path.stat().st_mtime_ns for one in records for path in state.glob(one)}


def add_commands(commands: Any, add: Any, common: Any, configured: Any) -> None:
    """`export` and `engines`, as `--help` shows them."""
    one = add(commands, "export", export_action, [common, configured])
    one.add_argument(
        "--engine", choices=get_args(EngineName),
        help="library that serves (default: serving.engine, auto: what this machine has)",
    )  # fmt: skip
    one.add_argument("--precision", choices=get_args(Precision), help="auto: fp16 on a GPU")
    one.add_argument(
        "--capacity", type=int, metavar="N", help="the most strings that an engine takes"
    )
    text = "List, verify, prune the engines built from the graph."
    engines = commands.add_parser("engines", help=text, description=text)
    verbs = engines.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for verb, text in (
        ("list", "Every engine: for what it was built, how far from torch, whether it serves."),
        ("verify", "Check every file, open what runs here and compare it with torch."),
        ("prune", "Remove engines of another graph, machine or library; never what serves."),
    ):
        one = add(verbs, verb, engines_action, [common], help=text)
        one.add_argument("--json", action="store_true", help="for programs")
        one.set_defaults(verb=verb)
    one.add_argument("--all", action="store_true", help="remove all but what serves")
