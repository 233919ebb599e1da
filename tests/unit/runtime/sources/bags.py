"""Small recordings, written here."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as BagWriter
from rosbags.typesys import Stores, get_typestore

from acclimate.runtime.sources.foxglove import compressed_image

START = 1_700_000_000  # seconds since 1970
RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
TYPES = get_typestore(Stores.ROS2_HUMBLE)


def grey(index: int, size: tuple[int, int] = (6, 8)) -> NDArray[np.uint8]:
    """The frame `index` (H,W,3): each 10 lighter than the one before."""
    return np.full((*size, 3), 10 * index, np.uint8)


def _header(index: int) -> Any:
    stamp = TYPES.types["builtin_interfaces/msg/Time"](sec=START + index, nanosec=500_000_000)
    return TYPES.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")


def raw(index: int, encoding: str = "rgb8", pixels: NDArray[np.uint8] | None = None) -> bytes:
    """A sensor_msgs/Image in CDR; `pixels` (H,W,C) or (H,W)."""
    image = grey(index) if pixels is None else pixels
    height, width = image.shape[:2]
    data = np.pad(image.reshape(height, -1), ((0, 0), (0, 5)))  # rows may be longer than pixels
    message = TYPES.types[RAW](
        header=_header(index), height=height, width=width, encoding=encoding, is_bigendian=0,
        step=data.shape[1], data=data.reshape(-1),
    )  # fmt: skip
    return bytes(TYPES.serialize_cdr(message, RAW))


def jpeg(index: int) -> NDArray[np.uint8]:
    """A PNG's bytes, so that pixels come back as they were."""
    return np.asarray(cv2.imencode(".png", grey(index))[1], np.uint8)


def compressed(index: int) -> bytes:
    """A sensor_msgs/CompressedImage in CDR."""
    message = TYPES.types[COMPRESSED](header=_header(index), format="png", data=jpeg(index))
    return bytes(TYPES.serialize_cdr(message, COMPRESSED))


def foxglove_json(index: int) -> bytes:
    """A foxglove.CompressedImage in JSON."""
    data = base64.b64encode(jpeg(index).tobytes()).decode()
    stamp = {"sec": START + index, "nsec": 500_000_000}
    return json.dumps({"timestamp": stamp, "data": data, "format": "png"}).encode()


def foxglove_protobuf(index: int) -> bytes:
    """The same in protobuf."""
    message = compressed_image()(data=jpeg(index).tobytes(), format="png", frame_id="camera")
    message.timestamp.seconds, message.timestamp.nanos = START + index, 500_000_000
    return bytes(message.SerializeToString())


def foxglove_ros(index: int) -> bytes:
    """The same in CDR: its fields stand there in another order."""
    data = jpeg(index)
    head = b"\x00\x01\x00\x00" + (START + index).to_bytes(4, "little")
    head += (500_000_000).to_bytes(4, "little") + (7).to_bytes(4, "little") + b"camera\0\0"
    body = len(data).to_bytes(4, "little") + data.tobytes()
    body += bytes(-len(body) % 4) + (4).to_bytes(4, "little") + b"png\0"
    return head + body


def write_mcap(
    path: Path, topics: dict[str, tuple[str, str, list[bytes]]],
    compression: CompressionType = CompressionType.ZSTD, chunk: int = 400,
) -> Path:  # fmt: skip
    """An MCAP file: topic -> (type, encoding, messages), a message of each every 0.1 s."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=chunk, compression=compression)
        writer.start()
        channels = {}
        for topic, (kind, encoding, _) in topics.items():
            schema = writer.register_schema(kind, "ros2msg", b"")
            channels[topic] = writer.register_channel(topic, encoding, schema)
        for index in range(max(len(messages) for *_, messages in topics.values())):
            now = START * 10**9 + index * 10**8
            for topic, (*_, messages) in topics.items():
                if index < len(messages):
                    writer.add_message(channels[topic], now, messages[index], now)
        writer.finish()
    return path


def write_bag(path: Path, topics: dict[str, tuple[str, list[bytes]]], storage: str) -> Path:
    """A ROS 2 bag with "sqlite3" or "mcap" inside: topic -> (type, messages)."""
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    with BagWriter(path, version=9, storage_plugin=plugin) as bag:
        for topic, (kind, messages) in topics.items():
            connection = bag.add_connection(topic, kind, typestore=TYPES)
            for index, data in enumerate(messages):
                bag.write(connection, START * 10**9 + index * 10**8, data)
    return path
