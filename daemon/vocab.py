"""`acclimate vocab`: other words for what serves, between two frames; what is looked for now."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acclimate.configs.schema import Config, parse_config
from acclimate.configs.vocabulary import (
    Vocabulary,
    check_served,
    load_served,
    parse_classes,
    without_concepts,
)
from acclimate.daemon.books import by_user
from acclimate.daemon.client import Daemon, holder_of
from acclimate.daemon.registry import Registry
from acclimate.daemon.words import (
    by_hand,
    check_engine,
    embed,
    file_of,
    keep,
    needed,
    read_kept,
    written,
)
from acclimate.errors import ConfigError, SwapRefused

PAUSE = 0.2


def set_action(options: argparse.Namespace) -> int:
    """Look for other classes from the next frame on, without a rebuild."""
    words = asked(options)
    if not options.state.is_dir():
        raise ConfigError([f"no state folder {options.state}; start `acclimate run` first"])
    with holder_of(options.state) as daemon:
        told = set_on_disk(options.state, words) if daemon is None else ask(daemon, words)
        print(told, flush=True)
    return 0


def asked(options: argparse.Namespace) -> Vocabulary:
    """The words of the command line; raises ConfigError with every problem, usage ends here."""
    if (options.vocabulary is None) == (options.classes is None):
        options.fail('give NAME|FILE or --classes "road,car|van,puddle"')
    if options.classes is not None:
        words = parse_classes(options.classes)
        check_served(words, "--classes")
    else:
        words = load_served(options.vocabulary)
    return words if options.concepts else without_concepts(words)


def ask(daemon: Daemon, words: Vocabulary) -> str:
    """Let the running daemon do it; returns its answer, raises SwapRefused with its reason."""
    answer = daemon.call("POST", "/v1/vocabulary", {"vocabulary": words.content})
    said = ""
    while answer["state"] == "working":
        if answer["message"] != said:
            said = answer["message"]
            print(f"{said} ...", file=sys.stderr, flush=True)
        time.sleep(PAUSE)
        answer = daemon.call("GET", f"/v1/vocabulary/{answer['id']}")
    if answer["state"] == "refused":
        raise SwapRefused(f"refused, the old words serve on: {answer['message']}")
    return str(answer["message"])


def set_on_disk(state: Path, words: Vocabulary) -> str:
    """The same where no daemon runs; raises SwapRefused and changes nothing."""
    registry, configured = Registry(state), configured_words(state)
    check_engine(state, words)
    keep(state, words)
    embed(registry, words, needed(registry))
    registry.reword(by_hand(words, configured))
    active = registry.state.active
    by_user(state, active, active, f"other words: {words.size}")
    return f"the next `acclimate run` looks for {words.size}"


def show_action(options: argparse.Namespace) -> int:
    """Show the classes that are looked for, with their words."""
    words, where = served(options.state)
    if options.yaml:
        print(written(words), end="")
        return 0
    print(f"{words.size}, {where}")
    width = max(map(len, words.names))
    for index, one in enumerate(words.classes):
        colour = "#{:02x}{:02x}{:02x}".format(*one.color)
        print(f"{index:>3}  {one.name:<{width}}  {colour}  {' | '.join(one.concepts)}")
    return 0


def served(state: Path) -> tuple[Vocabulary, str]:
    """The words of a state folder, and where they are from; raises ConfigError."""
    configured = configured_words(state)
    if (kept := Registry(state).state.words) is None:
        return configured, "as the configuration names them"
    if (words := read_kept(state, kept["key"])) is None:
        raise ConfigError([f"{file_of(state, kept['key'])} is unreadable; set the words again"])
    return words, "set by hand"


def configured_words(state: Path) -> Vocabulary:
    """Those of the state folder's configuration; raises ConfigError."""
    try:
        config: Config = parse_config(json.loads((state / "config.json").read_text()))
    except (OSError, ValueError) as error:
        raise ConfigError([f"{state} was never prepared; start `acclimate run` first"]) from error
    return load_served(config.model.vocabulary)


def as_served(state: Path) -> str | None:
    """The file of words set by hand; None while those of the configuration serve."""
    kept = Registry(state).state.words
    return None if kept is None else str(file_of(state, kept["key"]))


def add_commands(commands: Any, add: Callable[..., Any], common: argparse.ArgumentParser) -> None:
    """`acclimate vocab set|show`."""
    text = "Change the classes that are looked for, or show them."
    vocab = commands.add_parser("vocab", help=text, description=text)
    kinds = vocab.add_subparsers(title="commands", required=True, metavar="COMMAND")
    one = add(kinds, "set", set_action, [common])
    one.add_argument(
        "vocabulary", nargs="?", metavar="NAME|FILE",
        help="a file of yours, or packaged: cityscapes, ade150, camvid ...",
    )  # fmt: skip
    one.add_argument(
        "--classes", metavar="WORDS", help='"road,puddle,forklift"; "car|van" or '
        '"green=tree|bush" give a class several words',
    )  # fmt: skip
    one.add_argument(
        "--no-concepts", dest="concepts", action="store_false",
        help="look for the classes' names only, not for the words that stand for them",
    )  # fmt: skip
    one.set_defaults(fail=one.error)
    one = add(kinds, "show", show_action, [common])
    one.add_argument("--yaml", action="store_true", help="as a vocabulary file")
