"""`acclimate segment` and `acclimate evaluate`: jobs in processes of their own."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from acclimate.configs.schema import Config, load_config, parse_config
from acclimate.configs.vocabulary import load_served
from acclimate.daemon.guard import settle_for_job
from acclimate.daemon.main import only_one, prepare
from acclimate.daemon.processes import can_adapt, command
from acclimate.daemon.vocab import as_served
from acclimate.errors import ExportError
from acclimate.runtime.datasets import SPLITS, VOCABULARIES, find_dataset, find_pairs
from acclimate.runtime.job import Job, place_of, vocabularies

Say = Callable[[str], None]


def job_action(options: argparse.Namespace) -> int:
    """Make ready what the job needs, then run it; returns its exit code."""
    job = located(options.read(options))
    resolved = resolved_config(options)
    config = parse_config(json.loads(resolved.read_text()))
    settle_for_job(config)
    if options.config is None and (job.vocabulary, job.classes) == (None, None):
        job = replace(job, vocabulary=as_served(options.state))
    arguments = ["--config", str(resolved), "--state", str(options.state), "--job", job.dumps()]
    if code := embed_words(config, options.state, job, arguments):
        return code
    if job.protocol != "served" and not can_adapt():
        raise ExportError(f"--protocol {job.protocol} needs torch: pip install 'acclimate[adapt]'")
    name = "offline" if job.protocol == "served" else "reference"
    return subprocess.run(command(name, arguments), check=False).returncode


def resolved_config(options: argparse.Namespace) -> Path:
    """The state folder's own, prepared before; with --config, or the first time, a new one."""
    path: Path = options.state / "config.json"
    if options.config is None and path.is_file():
        return path
    config = load_config(options.config) if options.config else Config()
    load_served(config.model.vocabulary)
    with only_one(options.state):
        return prepare(config, options.state)


def located(job: Job) -> Job:
    """The job with its data set's own vocabulary; raises SourceError before any slow work."""
    if job.kind == "segment":
        return job
    if not job.root:
        find_pairs(Path(job.images), Path(job.labels), job.label_ids)
        return job
    found = find_dataset(Path(job.root), job.dataset or None, job.split or None)
    if (job.vocabulary, job.classes) != (None, None):
        return job
    return Job(**{**vars(job), "vocabulary": VOCABULARIES[found.dataset]})


def embed_words(config: Config, state: Path, job: Job, arguments: list[str]) -> int:
    """Let a process with torch embed words that are not there yet; returns its exit code."""
    places = [place_of(state, job.adapter, w) for w in vocabularies(job, config).values()]
    if all(place.ready for place in places):
        return 0
    if not can_adapt():
        raise ExportError(
            "these words are not embedded yet, which needs torch: pip install 'acclimate[adapt]', "
            f"or run this where it is installed and copy {state / 'words'} here"
        )
    return subprocess.run(command("words", arguments), check=False).returncode


def read_segment(options: argparse.Namespace) -> Job:
    """The job that the command line asks for."""
    return Job(
        "segment", source=options.input, out=str(options.out), confidence=options.confidence,
        **_common(options),
    )  # fmt: skip


def read_evaluate(options: argparse.Namespace) -> Job:
    """The job that the command line asks for; wrong usage ends the program."""
    folders = (options.images, options.labels)
    if (options.root is None) == (None in folders) or (options.root and any(folders)):
        options.fail("give --root DIR (a data set), or --images DIR and --labels DIR")
    return Job(
        "evaluate", images=str(options.images or ""), labels=str(options.labels or ""),
        root=str(options.root or ""), dataset=options.dataset or "", split=options.split or "",
        limit=options.limit, json=options.json, out=str(options.out or ""), **_common(options),
    )  # fmt: skip


def _common(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "adapter": options.adapter, "vocabulary": options.vocabulary,
        "classes": options.classes, "concepts": options.concepts,
        "protocol": options.protocol, "label_ids": options.label_ids,
    }  # fmt: skip


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


# ---- the options, as `--help` shows them


def words_options(one: argparse.ArgumentParser) -> None:
    """What to look for, and how."""
    words = one.add_mutually_exclusive_group()
    words.add_argument(
        "--classes", metavar="WORDS", help='look for these: "road,puddle,forklift"; "car|van" or '
        '"green=tree|bush" give a class several words',
    )  # fmt: skip
    words.add_argument(
        "--vocabulary", metavar="NAME|FILE", help="classes from a file, or packaged: cityscapes, "
        "ade150, pascal-context59, camvid ... (default: what the state folder serves)",
    )  # fmt: skip
    one.add_argument("--adapter", default="base", metavar="ID", help="default: base")
    one.add_argument(
        "--protocol", choices=("served", "whole", "sliding"), default="served",
        help="served: the engine, as on the road (default); whole, sliding: the network in torch "
        "on the image or on overlapping windows of it, as CAT-Seg is evaluated; slower",
    )  # fmt: skip


def segment_options(one: argparse.ArgumentParser) -> None:
    """Options of `acclimate segment`."""
    one.add_argument("input", metavar="IN", help="image, folder of images or film")
    one.add_argument(
        "--out", type=Path, required=True, metavar="DIR",
        help="gets overlays/ or overlay.mp4, labels/, areas.json, legend.png",
    )  # fmt: skip
    words_options(one)
    one.add_argument(
        "--no-concepts", dest="concepts", action="store_const", const="without", default="with",
        help="look for the classes' names only, not for the words that stand for them",
    )  # fmt: skip
    one.add_argument(
        "--label-ids", choices=("index", "dataset"), default="index",
        help="values in the label PNGs: the class's place in the vocabulary (default), or its "
        "number in the data set (Cityscapes: road 7, sidewalk 8, ...)",
    )  # fmt: skip
    one.add_argument(
        "--confidence", action="store_true", help="write confidence/*.png too: 255 is certain"
    )
    one.set_defaults(read=read_segment)


def evaluate_options(one: argparse.ArgumentParser) -> None:
    """Options of `acclimate evaluate`."""
    known = ", ".join(VOCABULARIES)
    splits = ", ".join(f"{name} {split}" for name, split in SPLITS.items())
    data = one.add_argument_group("what to compare with: a data set as it comes, or two folders")
    data.add_argument("--root", type=Path, metavar="DIR", help=f"a data set's folder: {known}")
    data.add_argument(
        "--dataset", choices=tuple(VOCABULARIES), help="which one it is (default: what is found)"
    )
    data.add_argument("--split", metavar="NAME", help=f"default: {splits}")
    data.add_argument("--images", type=Path, metavar="DIR")
    data.add_argument(
        "--labels", type=Path, metavar="DIR", help="PNGs of the images' names; see --label-ids"
    )
    data.add_argument(
        "--label-ids", choices=("index", "dataset"), default="index",
        help="values in --labels: the class's place in the vocabulary, 255 ignored (default), or "
        "its number in the data set",
    )  # fmt: skip
    data.add_argument("--limit", type=positive, default=0, metavar="N", help="first N images only")
    words_options(one)
    one.add_argument(
        "--concepts", choices=("with", "without", "both"), default="with",
        help="look for the words that stand for a class (default), for its name only, or compare",
    )  # fmt: skip
    one.add_argument(
        "--no-concepts", dest="concepts", action="store_const", const="without",
        help="as --concepts without: how official results are made",
    )  # fmt: skip
    one.add_argument("--json", action="store_true", help="for programs")
    one.add_argument(
        "--out", type=Path, metavar="DIR", help="write report.json and confusion.png here"
    )
    one.set_defaults(read=read_evaluate, fail=one.error)
