"""`acclimate weights`: what others published, fetched, looked at, and written for other tools."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acclimate.configs.published import PUBLISHED, Published, check, folder, recorded, sha256
from acclimate.daemon.download import download
from acclimate.daemon.processes import can_adapt, command
from acclimate.errors import CheckpointError, DownloadError
from acclimate.runtime.durable import write_atomic

Action = Callable[[argparse.Namespace], int]


def list_action(options: argparse.Namespace) -> int:
    """The published files there are, and which are here."""
    for name, one in PUBLISHED.items():
        print(f"{name:<13}{'here' if one.path.exists() else '-':<6}{one.what}")
        print(f"{'':<19}{one.publisher}, {one.licence}\n{'':<19}{one.address}")
    print(f"kept in {folder()}")
    return 0


def pull_action(options: argparse.Namespace) -> int:
    """Fetch a published file; its digest is kept and checked from then on."""
    one = PUBLISHED[options.name]
    if one.path.exists():
        digest = sha256(one.path)
        check(one, digest)
        known = recorded(one) is not None
        print(f"{one.path} is here{'' if known else ', recorded now'}; sha256 {digest}")
        return 0 if known else _record(one, one.path, digest)
    print(f"{one.address}\n  ({one.publisher}; {one.licence})", file=sys.stderr)
    try:
        download(one.address, one.path, lambda part: _accept(one, part))
    except DownloadError as error:
        raise DownloadError(_by_hand(options.name, one, str(error))) from error
    print(f"written to {one.path}; use it as `model: {{weights: {options.name}}}`")
    return 0


def _accept(one: Published, part: Path) -> None:
    """Whole, and the same as ever; then it is recorded, if nothing was yet."""
    if not zipfile.is_zipfile(part):
        raise CheckpointError(
            f"{one.address} did not give a torch file but something else (a login page? a cut "
            "file?); look at the address in a browser"
        )
    digest = sha256(part)
    check(one, digest)
    if recorded(one) is None:
        _record(one, part, digest)


def _record(one: Published, file: Path, digest: str) -> int:
    content = {
        "sha256": digest, "bytes": file.stat().st_size, "address": one.address,
        "recorded": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip
    write_atomic(one.record, (json.dumps(content, indent=1) + "\n").encode())
    return 0


def _by_hand(name: str, one: Published, why: str) -> str:
    return (
        f"cannot download {one.address}: {why}.\nWithout a network: get it on another machine, "
        f"put it at\n  {one.path}\nand run `acclimate weights pull {name}`, which records it"
    )


def job_action(options: argparse.Namespace) -> int:
    """`inspect` and `export` need torch: a process of their own."""
    if not can_adapt():
        raise CheckpointError("looking into weights needs torch: pip install 'acclimate[adapt]'")
    arguments = [options.job, options.file]
    if options.job == "export":
        arguments += ["--to", str(options.to), "--format", options.format]
    elif options.json:
        arguments.append("--json")
    return subprocess.run(command("weights", arguments), check=False).returncode


def add_commands(commands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    """`weights list | pull | inspect | export` for the command line."""
    text = "List and pull published weights, inspect and export any."
    top = commands.add_parser("weights", help=text, description=text)
    kinds = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add(kinds, "list", list_action, [])
    one = add(kinds, "pull", pull_action, [])
    one.add_argument("name", metavar="NAME", choices=list(PUBLISHED), help=", ".join(PUBLISHED))
    one = add(kinds, "inspect", job_action, [], help="Say what a weights file is and holds.")
    one.add_argument("file", metavar="FILE", help="a file, or a published name")
    one.add_argument("--json", action="store_true", help="for programs")
    one.set_defaults(job="inspect")
    one = add(kinds, "export", job_action, [], help="Write CAT-Seg weights as their authors do.")
    one.add_argument("file", metavar="FILE", help="a file, or a published name")
    one.add_argument("--to", type=Path, required=True, metavar="OUT")
    one.add_argument(
        "--format", choices=("auto", "detectron2", "mmseg", "safetensors"), default="auto",
        help="auto: .safetensors by its name, else detectron2 for v2 and mmseg for v1",
    )  # fmt: skip
    one.set_defaults(job="export")
