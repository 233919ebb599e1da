"""Configurations and vocabularies as somebody wrote them."""

from __future__ import annotations

import contextlib
import json

from acclimate.configs.schema import load_config, parse_config, to_dict
from acclimate.configs.source import public
from acclimate.configs.vocabulary import load_served, parse_classes
from acclimate.daemon.words import keep, read_kept
from acclimate.errors import AcclimateError
from acclimate.runtime.sources.address import address_of, is_camera
from acclimate.world import parse_spec
from tests.fuzz.room import room


def config(data: bytes) -> None:
    """A YAML file; what is taken is taken again from the JSON that other processes are given."""
    with room() as folder, contextlib.suppress(AcclimateError):
        (folder / "config.yaml").write_bytes(data)
        read = load_config(folder / "config.yaml")
        assert parse_config(json.loads(json.dumps(to_dict(read)))) == read
        for one in read.sources.values():
            public(one.url)
            if is_camera(one.url):
                address_of(one.url, one)


def vocabulary(data: bytes) -> None:
    """Words in a file, or on the command line; those that are served are kept as they were."""
    with room() as folder:
        (folder / "words.yaml").write_bytes(data)
        with contextlib.suppress(AcclimateError):
            read = load_served(str(folder / "words.yaml"))
            keep(folder, read)
            assert read_kept(folder, read.key) == read
            assert read.string_to_class().shape == (len(read.strings), len(read.classes))
            assert len(read.palette) == len(read.labels) == len(read.names)
            read.from_source(), read.from_labels()
        with contextlib.suppress(AcclimateError):
            parse_classes(data.decode(errors="replace"))


def world(data: bytes) -> None:
    """The address of a world; ValueError is promised."""
    with contextlib.suppress(ValueError):
        spec = parse_spec("world:" + data.decode(errors="replace"))
        spec.shift_at(0.0), spec.shift_at(1e9)
