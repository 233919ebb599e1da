"""The command `acclimate`. Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from acclimate import __version__
from acclimate.configs.schema import Config, load_config
from acclimate.configs.source import public
from acclimate.configs.vocabulary import load_served
from acclimate.daemon import (
    adapters,
    doctor,
    engines,
    fsck,
    reproduce,
    steer,
    tail,
    trust_cli,
    vocab,
    weights,
)
from acclimate.daemon.credentials import secrets_of
from acclimate.daemon.jobs import evaluate_options, job_action, segment_options
from acclimate.daemon.main import check, possible, run, with_source
from acclimate.daemon.notify import Notifier
from acclimate.daemon.service import Service, no_file
from acclimate.daemon.signals import Signals
from acclimate.daemon.status import read_status, sentence, table
from acclimate.daemon.steer import existing
from acclimate.errors import AcclimateError, ConfigError, InUse, Stopped

EX_CONFIG = 78


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    options = parser().parse_args(arguments)
    try:
        return int(options.action(options))
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {public(problem)}", file=sys.stderr)
        return 1 if isinstance(error, InUse) else EX_CONFIG  # systemd tries 1 again
    except (AcclimateError, OSError) as error:
        print(f"error: {public(str(error))}", file=sys.stderr)
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
    signals = Signals()
    signals.listen()

    def read() -> Config:
        return possible(with_source(configuration(options), options.source))

    def tell(event: dict[str, Any]) -> None:
        if (line := sentence(event)) is not None:
            print(line, flush=True)

    reread = read if options.config else no_file
    service = Service(signals, Notifier.from_environment(), reread)
    try:
        last = run(read(), options.state, options.out, options.duration, tell, service=service)
    except Stopped as reason:
        print(reason)
        return 0
    if options.out:
        print(f"written to {options.out}")
    if not last["frames"]["captured"] and not service.stop.is_set():
        print("error: no frame was captured; is the source right?", file=sys.stderr)
        return 1
    return 0 if last["frames"]["balanced"] else 1


def status_action(options: argparse.Namespace) -> int:
    """What the daemon on --state is doing."""
    status = read_status(existing(options.state))
    print(json.dumps(status, indent=1) if options.json else table(status))
    return 0


def check_action(options: argparse.Namespace) -> int:
    """Every problem of a configuration file at once."""
    config = configuration(options)
    if config.control.tcp_host is not None:
        secrets_of(config.control)
    whole = check(config)
    unseen = "" if whole else "; weights and words longer than 77 tokens show where torch is"
    print(f"{options.config} is sound{unseen}")
    return 0


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

    steer.add_commands(commands, add, common)
    kinds = adapters.add_commands(commands, add, common)
    tail.add_commands(commands, add, common)
    doctor.add_commands(commands, add, common, configured)

    trust_cli.add_commands(commands, kinds, add, common, configured)
    text = "Write label maps, overlays and areas of an image, a folder or a film."
    segment_options(add(commands, "segment", job_action, [common, configured], help=text))
    text = "Score an adapter on labelled images: IoU, accuracy, boundary IoU."
    evaluate_options(add(commands, "evaluate", job_action, [common, configured], help=text))

    engines.add_commands(commands, add, common, configured)
    fsck.add_commands(commands, add, common)
    vocab.add_commands(commands, add, common)
    weights.add_commands(commands, add)
    reproduce.add_commands(commands, add)
    one = add(commands, "check-config", check_action, [])
    one.add_argument("config", type=Path, metavar="FILE")
    return top


if __name__ == "__main__":
    sys.exit(main())
