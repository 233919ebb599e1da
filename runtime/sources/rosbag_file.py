"""A ROS 2 bag as rosbags reads it: a folder with its metadata, or one .db3 that lost it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
from rosbags.interfaces import ConnectionExtRosbag2
from rosbags.rosbag2 import Reader, ReaderError

from acclimate.errors import SourceError
from acclimate.runtime.sources.recording import Entry, Topic

# rosbags passes on what SQLite, zstandard and its YAML say, the last of odd tags by any kind
BROKEN = (
    ReaderError, apsw.Error, OSError, ValueError, RuntimeError, AssertionError, EOFError,
    LookupError, AttributeError, TypeError, OverflowError,
)  # fmt: skip


class RosbagFile:
    """One recording in SQLite, compressed or not."""

    def __init__(self, path: Path) -> None:
        """Raises SourceError where it can't be read at all."""
        self._path, self.trouble = path, ""
        try:
            with Reader(path) as reader:
                seconds = 1e-9 * max(0, reader.duration)
                self.topics = {
                    one.topic: Topic(
                        one.topic, one.msgtype, _encoding(one.ext), one.msgcount, seconds
                    )
                    for one in reader.connections
                }
        except BROKEN as error:
            raise SourceError(f"{path} is no ROS 2 bag that can be read: {error}") from error

    def entries(self, topic: str | None = None) -> Iterator[Entry]:
        """See Recording."""
        try:
            with Reader(self._path) as reader:
                wanted = [one for one in reader.connections if topic in (None, one.topic)]
                for one, logged, data in reader.messages(wanted):
                    yield Entry(self.topics[one.topic], logged, bytes(data))
        except BROKEN as error:
            self.trouble = f"{self._path.name} breaks off: {error}"


def _encoding(more: object) -> str:
    return more.serialization_format if isinstance(more, ConnectionExtRosbag2) else ""
