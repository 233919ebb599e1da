"""Recordings, and the messages in them."""

from __future__ import annotations

import contextlib
import threading
from itertools import islice
from pathlib import Path

from acclimate.errors import AcclimateError
from acclimate.runtime.fit import is_picture
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.sources.bag import BagSource, is_bag
from acclimate.runtime.sources.messages import decoder_of, read
from tests.fuzz.room import room
from tests.fuzz.targets import parts

KINDS = (
    ("sensor_msgs/msg/Image", "cdr"), ("sensor_msgs/msg/CompressedImage", "cdr"),
    ("foxglove_msgs/msg/CompressedImage", "cdr"), ("foxglove.CompressedImage", "json"),
    ("foxglove.CompressedImage", "protobuf"),
)  # fmt: skip
MOST_FRAMES = 40


def mcap(data: bytes) -> None:
    """An MCAP file."""
    with room() as folder:
        (folder / "a.mcap").write_bytes(data)
        _play(folder / "a.mcap")


def bag(data: bytes) -> None:
    """A ROS 2 bag: its metadata and its database, and the database alone."""
    with room() as folder:
        for name, content in parts(data, ("metadata.yaml", "bag_0.db3")).items():
            (folder / name).write_bytes(content)
        for path in (folder, folder / "bag_0.db3"):
            if is_bag(path):
                _play(path)


def _play(path: Path) -> None:
    ledger, taken = Ledger(), 0
    with contextlib.suppress(AcclimateError):
        source = BagSource(path, None)
        for frame in islice(source.frames(ledger, threading.Event()), MOST_FRAMES):
            taken += 1
            assert is_picture(frame.image)
    books = ledger.totals()
    assert books["captured"] == taken + sum(books["dropped"].values()), books


def message(data: bytes) -> None:
    """One message; its first byte says of which type."""
    kind, encoding = KINDS[data[0] % len(KINDS)] if data else KINDS[0]
    decode = decoder_of(kind, encoding)
    assert decode is not None
    with contextlib.suppress(AcclimateError):
        stamp, image = read(decode, data[1:])
        assert is_picture(image)
        assert stamp + 1.0 > stamp - 1.0, "a time that is none"
