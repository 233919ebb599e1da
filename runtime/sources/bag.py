"""The pictures of one topic of an MCAP file or a ROS 2 bag."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from acclimate.errors import SourceError
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.sources.captured import Captured
from acclimate.runtime.sources.mcap_file import McapFile
from acclimate.runtime.sources.messages import decoder_of, read
from acclimate.runtime.sources.recording import Recording, Topic
from acclimate.runtime.sources.rosbag_file import RosbagFile

BAGS = {".mcap", ".db3"}
log = logging.getLogger("acclimate.source")


def is_bag(path: Path) -> bool:
    """A recording's file, or a folder that ROS 2 recorded into?"""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or bool(_files(path))
    return path.is_file() and path.suffix.lower() in BAGS


class BagSource:
    """Every picture of a recording's topic, as fast as they are served.

    `time` is that of recording, `stamp` that of taking. Where a power cut or a rotten disk left a
    hole, what is before and after it is read, and `reason` says so.
    """

    live, reason = False, ""

    def __init__(self, path: Path, topic: str | None) -> None:
        """`topic` None = the only one with pictures. Raises SourceError, with the topics there."""
        self.state, self._path = "connecting", path
        self._parts = _parts(path)
        self._topic = _choose(path, self._parts, topic)
        counted = [part.topics[self._topic] for part in self._parts if self._topic in part.topics]
        frames, seconds = sum(one.count for one in counted), sum(one.seconds for one in counted)
        self.fps = frames / seconds if frames > 1 and seconds > 0 else 10.0

    def frames(self, ledger: Ledger, stop: threading.Event) -> Iterator[Captured]:
        """Pictures in the order of their recording; what is none is dropped as "unreadable"."""
        self.state, first, index, good = "live", None, 0, 0
        for part in self._parts:
            for entry in part.entries(self._topic):
                if stop.is_set():
                    break
                ledger.capture()
                first = entry.logged if first is None else first
                seconds, index = 1e-9 * (entry.logged - first), index + 1
                decode = decoder_of(entry.topic.kind, entry.topic.encoding)
                try:
                    if decode is None:
                        raise SourceError(f"no pictures in {entry.topic.kind}")
                    stamp, image = read(decode, entry.data)
                except SourceError as error:
                    ledger.drop("unreadable")
                    self._tell(str(error))
                    continue
                good += 1
                when = stamp or 1e-9 * entry.logged
                yield Captured(index - 1, time.monotonic(), seconds, image, stamp=when)
            if part.trouble:
                self._tell(part.trouble)
        if index and not good and not stop.is_set():
            raise SourceError(f"no picture of {self._topic} in {self._path}: {self.reason}")
        self.state = "ended"

    def _tell(self, reason: str) -> None:
        """Logged once of each kind."""
        if reason != self.reason:
            self.reason = reason
            log.warning("source %s: %s", self._path, reason)


def _parts(path: Path) -> list[Recording]:
    if path.is_file():
        return [_part(path)]
    files = _files(path)
    if (path / "metadata.yaml").is_file() and not any(file.suffix == ".mcap" for file in files):
        return [RosbagFile(path)]  # it knows of compressed files, too
    return [_part(file) for file in files]


def _part(path: Path) -> Recording:
    return McapFile(path) if path.suffix.lower() == ".mcap" else RosbagFile(path)


def _files(folder: Path) -> list[Path]:
    """In the order in which they were recorded: bag_2 before bag_10."""
    files = [path for path in folder.iterdir() if path.suffix.lower() in BAGS]
    return sorted(files, key=lambda path: [int(n) for n in re.findall(r"\d+", path.stem)][-1:])


def _choose(path: Path, parts: list[Recording], wanted: str | None) -> str:
    """The topic that is read; raises SourceError that lists what there is."""
    topics: dict[str, Topic] = {}
    for part in parts:
        topics = part.topics | topics
    pictures = [n for n, one in topics.items() if decoder_of(one.kind, one.encoding) is not None]
    if wanted in pictures:
        return str(wanted)
    if wanted is None and len(pictures) == 1:
        return pictures[0]
    if not pictures:
        listed = ", ".join(f"{one.name} ({one.kind})" for one in topics.values()) or "nothing"
        raise SourceError(f"{path} has no topic with pictures, only {listed}")
    listed = ", ".join(sorted(pictures))
    if wanted is None:
        raise SourceError(f"{path} has {len(pictures)} topics; set source.topic to one of {listed}")
    raise SourceError(f"{path} has no pictures under {wanted!r}; topics with pictures: {listed}")
