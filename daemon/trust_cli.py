"""`acclimate keys`, `acclimate purge`, and adapters that come and go."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acclimate.daemon.books import by_user
from acclimate.daemon.client import holder_of
from acclimate.daemon.commands import told_of_import
from acclimate.daemon.engines import configured
from acclimate.daemon.guard import settle_for_job
from acclimate.daemon.purge import on_disk
from acclimate.daemon.registry import Registry
from acclimate.daemon.steer import existing
from acclimate.daemon.transfer import arrived, export, take_in
from acclimate.errors import ConfigError, SwapRefused
from acclimate.runtime.keys import (
    fingerprint,
    new_pair,
    new_secret,
    read_private,
    read_public,
    read_secret,
)
from acclimate.runtime.retention import memories
from acclimate.runtime.vault import key_name


def new_action(options: argparse.Namespace) -> int:
    """Make a key: to sign with (FILE, FILE.pub), or with --buffer to encrypt buffered frames."""
    file = options.file
    if options.buffer:
        new_secret(file)
        print(f"{file}: key {key_name(read_secret(file))}; name it in buffer.key_file")
        return 0
    name = new_pair(file)
    print(f"{file}: signing key {name}; name it in trust.signing_key")
    print(f"{file}.pub: its public half, for trust.keys of devices that are to trust it")
    return 0


def show_action(options: argparse.Namespace) -> int:
    """What a key file is, and the name that events and errors call it by."""
    readers: dict[str, Callable[[Path], str]] = {
        "signing key": lambda path: fingerprint(read_private(path).public_key()),
        "public key": lambda path: fingerprint(read_public(path)),
        "key for frames": lambda path: key_name(read_secret(path)),
    }
    problems: list[str] = []
    for what, read in readers.items():
        try:
            print(f"{options.file}: {what} {read(options.file)}")
            return 0
        except ConfigError as error:
            problems += error.problems
    rights = [one for one in problems if "is no Ed25519" not in one and "hex digits" not in one]
    raise ConfigError(rights[:1] or [f"{options.file} is no key that `acclimate keys new` makes"])


def purge_action(options: argparse.Namespace) -> int:
    """Remove frames of the road from the device, and say what was removed."""
    hours = 0.0 if options.all else options.older_than
    memory, adapters = options.adapters_memory, options.adapters
    if hours is None and not memory and not adapters:
        options.fail("give --all, --older-than H, --adapters-memory or --adapters")
    state = existing(options.state)
    with holder_of(state) as daemon:
        if daemon is None:
            buffer = configured(options).buffer
            registry = Registry(state)
            before = registry.state.active
            print(on_disk(registry, buffer, hours, memory, adapters))
            if registry.state.active != before:
                by_user(state, before, registry.state.active, "all adapters were purged")
        elif adapters:
            raise SwapRefused("--adapters: stop the daemon first, one of them may serve")
        else:
            body = {"memory": memory} | ({} if hours is None else {"hours": hours})
            print(daemon.call("POST", "/v1/purge", body)["message"])
    if left := len(memories(state)):
        print(f"{left} bundles keep frames for later gates (--adapters-memory)")
    return 0


def export_action(options: argparse.Namespace) -> int:
    """Write an adapter to one file. Four frames of the road that it is checked on go with it."""
    state = existing(options.state)
    settle_for_job(configured(options))
    size = export(Registry(state), options.id, options.to)
    print(f"{options.to}: {options.id}, {size / 2**20:.1f} MiB")
    return 0


def import_action(options: argparse.Namespace) -> int:
    """Take in an adapter from a file. It does not serve before `acclimate adapters try`."""
    state = existing(options.state)
    settle_for_job(configured(options))
    with holder_of(state) as daemon, arrived(state, options.file) as folder:
        if daemon is None:
            told = told_of_import(take_in(Registry(state), folder))
        else:
            told = daemon.call("POST", "/v1/imports", {"folder": folder.name})["message"]
    print(f"{options.file}: {told}")
    return 0


def try_action(options: argparse.Namespace) -> int:
    """Let the running daemon serve an adapter on probation: past the gate, and back if it fails."""
    state = existing(options.state)
    with holder_of(state) as daemon:
        if daemon is None:
            raise SwapRefused("no daemon runs here to watch it: start `acclimate run` first")
        print(daemon.call("POST", f"/v1/adapters/{options.id}/try", {})["message"])
    return 0


def _hours(text: str) -> float:
    try:
        if 0 < (hours := float(text)) < float("inf"):
            return hours
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no number of hours above 0")


def add_commands(commands: Any, adapters: Any, add: Any, common: Any, configured: Any) -> None:
    """`keys` and `purge` below `commands`, `export`, `import` and `try` below `adapters`."""
    text = "Make and show keys, to sign adapters and to encrypt buffered frames."
    kinds = commands.add_parser("keys", help=text, description=text)
    kinds = kinds.add_subparsers(title="commands", required=True, metavar="COMMAND")
    one = add(kinds, "new", new_action, [])
    one.add_argument("file", type=Path, metavar="FILE")
    one.add_argument("--buffer", action="store_true", help="a key for buffered frames")
    add(kinds, "show", show_action, []).add_argument("file", type=Path, metavar="FILE")

    one = add(commands, "purge", purge_action, [common, configured])
    which = one.add_mutually_exclusive_group()
    which.add_argument(
        "--all",
        action="store_true",
        help="every buffered frame; of an encrypted buffer the key, too",
    )
    which.add_argument(
        "--older-than", type=_hours, metavar="H", help="buffered frames older than H hours"
    )
    one.add_argument(
        "--adapters-memory", action="store_true",
        help="frames that adapters keep for later gates; with --older-than those older than that",
    )  # fmt: skip
    one.add_argument(
        "--adapters", action="store_true",
        help="every adapter made or imported here, with the frames it is checked on; no daemon "
        "may run",
    )  # fmt: skip
    one.set_defaults(fail=one.error)

    one = add(adapters, "export", export_action, [common, configured])
    one.add_argument("id", metavar="ID")
    one.add_argument("--to", type=Path, required=True, metavar="FILE.tar")
    one = add(adapters, "import", import_action, [common, configured])
    one.add_argument("file", type=Path, metavar="FILE")
    add(adapters, "try", try_action, [common]).add_argument("id", metavar="ID")
