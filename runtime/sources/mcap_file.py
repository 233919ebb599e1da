"""One MCAP file, read from its beginning to its end, or to where the power was cut."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lz4.frame
import zstandard
from mcap.exceptions import McapError
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

from acclimate.errors import SourceError
from acclimate.runtime.sources.recording import Entry, Topic

LIMIT = 2**28  # bytes of a record or an unpacked chunk: no camera fills that, a bomb would
BROKEN = (
    McapError, EOFError, ValueError, KeyError, RuntimeError, struct.error, zstandard.ZstdError,
    OverflowError, MemoryError,  # lengths that no file has
)  # fmt: skip


class McapFile:
    """Every message in a good chunk is read, whatever happened to the others."""

    def __init__(self, path: Path) -> None:
        """Raises SourceError where it is no MCAP at all."""
        self._path, self.trouble = path, ""
        self.topics = self._summary() or self._scan()

    def _summary(self) -> dict[str, Topic]:
        """What the end of the file tells of its topics; nothing where it tells nothing."""
        try:
            with self._path.open("rb") as file:
                summary = SeekingReader(file, record_size_limit=LIMIT).get_summary()
        except (*BROKEN, OSError):  # it may point to before the file's beginning
            return {}
        if summary is None or summary.statistics is None:
            return {}
        told = summary.statistics
        seconds = 1e-9 * (told.message_end_time - told.message_start_time)
        topics: dict[str, Topic] = {}
        for channel in summary.channels.values():
            schema = summary.schemas.get(channel.schema_id)
            count = told.channel_message_counts.get(channel.id, 0)
            topic = Topic(channel.topic, schema.name if schema else "", channel.message_encoding)
            topics[channel.topic] = replace(topic, count=count, seconds=seconds)
        return topics

    def _scan(self) -> dict[str, Topic]:
        """The topics of a file without an end, by reading all of it."""
        topics: dict[str, Topic] = {}
        for entry in self.entries():
            known = topics.setdefault(entry.topic.name, entry.topic)
            topics[known.name] = replace(known, count=known.count + 1)
        if not topics and self.trouble:
            raise SourceError(f"{self._path} is no MCAP file: {self.trouble}")
        return topics

    def entries(self, topic: str | None = None) -> Iterator[Entry]:
        """See Recording."""
        schemas: dict[int, Schema] = {}
        channels: dict[int, Topic] = {}
        for record in self._records():
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                schema = schemas.get(record.schema_id)
                name = schema.name if schema else ""
                channels[record.id] = Topic(record.topic, name, record.message_encoding)
            elif isinstance(record, Message):
                its = channels.get(record.channel_id)
                if its is not None and topic in (None, its.name):
                    yield Entry(its, record.log_time, record.data)

    def _records(self) -> Iterator[McapRecord]:
        with self._path.open("rb") as file:
            records = StreamReader(file, emit_chunks=True, record_size_limit=LIMIT).records
            try:
                for record in records:
                    if isinstance(record, Chunk):
                        yield from self._inside(record)
                    else:
                        yield record
            except BROKEN as error:
                where = f"byte {file.tell():,}"
                self.trouble = f"{self._path.name} breaks off at {where}: {_words(error)}"

    def _inside(self, chunk: Chunk) -> list[McapRecord]:
        try:
            plain = replace(chunk, compression="", data=unpack(chunk))
            return breakup_chunk(plain, validate_crc=True)
        except BROKEN as error:
            self.trouble = f"a chunk of {self._path.name} is rotten: {_words(error)}"
            return []


def unpack(chunk: Chunk) -> bytes:
    """Its records; raises ValueError where they would be more than LIMIT bytes."""
    if chunk.compression == "zstd":
        with zstandard.ZstdDecompressor().stream_reader(chunk.data) as stream:
            data = stream.read(LIMIT + 1)
    elif chunk.compression == "lz4":
        data = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=LIMIT + 1)
    elif chunk.compression == "":
        data = chunk.data
    else:
        raise ValueError(f"unknown compression {chunk.compression!r}")
    if len(data) > LIMIT:
        raise ValueError(f"more than {LIMIT:,} bytes in a chunk")
    return bytes(data)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
