"""One-off jobs on a prepared state folder: `segment` pictures or a film, `evaluate` on labels.

python -m acclimate.runtime.offline --config resolved.json --state DIR --job JSON
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2

from acclimate.configs.schema import Config, parse_config
from acclimate.configs.vocabulary import Vocabulary
from acclimate.errors import AcclimateError, ConfigError
from acclimate.runtime import assess
from acclimate.runtime.bundle import load_bundle
from acclimate.runtime.engines import open_engine
from acclimate.runtime.job import WITH, Job, Place, place_of, read_job, vocabularies
from acclimate.runtime.predict import Predict, served
from acclimate.runtime.segment import segment

Open = Callable[[Config, Job, Place, Vocabulary, bool], Predict]


def open_served(
    config: Config, job: Job, place: Place, words: Vocabulary, concepts: bool
) -> Predict:
    """The engine as it serves: whole frame, softmax over all strings, summed per class."""
    how = config.serving
    engine = open_engine(place.engine, how.threads, how.engine, how.precision, how.capacity)
    return served(engine, load_bundle(place.bundle, engine.info, words.digest), how.fit)


def run(options: argparse.Namespace, open_: Open) -> None:
    """Open what the job needs and do it."""
    config: Config = parse_config(json.loads(options.config.read_text()))
    job = read_job(options.job)
    variants = vocabularies(job, config)
    see = partial(_open, config, options.state, job, open_)
    if job.kind == "segment":
        for name, words in variants.items():
            segment(job, words, see(name, words))
        return
    found, results = assess.find(job), {}
    for name, words in variants.items():
        results[name] = assess.score(job, words, found, see(name, words))
    assess.publish(job, found, words.names, results)


def _open(
    config: Config, state: Path, job: Job, open_: Open, name: str, words: Vocabulary
) -> Predict:
    return open_(config, job, place_of(state, job.adapter, words), words, name == WITH)


def main(arguments: list[str] | None = None, open_: Open = open_served) -> int:
    """Process entry; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="resolved configuration, JSON")
    parser.add_argument("--state", type=Path, required=True, help="state folder")
    parser.add_argument("--job", required=True, help="what to do, JSON (acclimate.runtime.job)")
    try:
        run(parser.parse_args(arguments), open_)
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return os.EX_CONFIG
    except (AcclimateError, OSError, cv2.error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
