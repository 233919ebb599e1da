"""Messages of a recording to pictures: ROS 2's own, and Foxglove's in CDR, JSON or protobuf."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
from google.protobuf.message import DecodeError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from acclimate.errors import SourceError
from acclimate.runtime.pixels import check_encoded
from acclimate.runtime.sources.captured import Picture
from acclimate.runtime.sources.foxglove import compressed_image

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
FOXGLOVE_ROS = "foxglove_msgs/msg/CompressedImage"
_FOXGLOVE = "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
BROKEN = (
    SerdeError, DecodeError, ValueError, KeyError, TypeError, AttributeError, RecursionError,
)  # fmt: skip
# encoding: bytes a pixel, OpenCV's way to RGB
ENCODINGS: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None), "bgr8": (3, cv2.COLOR_BGR2RGB), "8UC3": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB), "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB), "8UC1": (1, cv2.COLOR_GRAY2RGB),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2), "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY), "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
}  # fmt: skip
# a picture (H,W,3) RGB and when it was taken, in seconds since 1970 (0 where nobody said)
Dated = tuple[float, Picture]
Decode = Callable[[bytes], Dated]


def decoder_of(kind: str, encoding: str) -> Decode | None:
    """What reads messages of the type `kind` in `encoding`; None where they are no pictures."""
    return _DECODERS.get((encoding, kind))


def read(decode: Decode, data: bytes) -> Dated:
    """Raises SourceError for a message that is not what its type says."""
    try:
        return decode(data)
    except BROKEN as error:
        raise SourceError(f"a message is not of its type: {error}") from error
    except cv2.error as error:
        raise SourceError(f"a picture cannot be decoded: {error}") from error


def _raw(data: bytes) -> Dated:
    message = _from_cdr(data, RAW)
    return _seconds(message.header.stamp), picture(
        message.encoding, message.height, message.width, message.step, message.data
    )


def picture(encoding: str, height: int, width: int, step: int, data: Any) -> Picture:
    """Bytes in rows of `step` to RGB; raises SourceError where they can't be."""
    if encoding not in ENCODINGS:
        raise SourceError(f"no pictures in {encoding!r}; those in {', '.join(ENCODINGS)} are read")
    depth, code = ENCODINGS[encoding]
    if width * depth > step or height * step > len(data) or not height * width:
        raise SourceError(f"{len(data)} bytes are no {width}x{height} pixels of {encoding}")
    rows = np.frombuffer(data, np.uint8, height * step).reshape(height, step)
    image = np.ascontiguousarray(rows[:, : width * depth]).reshape(height, width, depth)
    return np.asarray(image if code is None else cv2.cvtColor(image, code), np.uint8)


def _compressed(data: bytes) -> Dated:
    message = _from_cdr(data, COMPRESSED)
    return _seconds(message.header.stamp), _unpack(message.data)


def _foxglove_ros(data: bytes) -> Dated:
    message = _from_cdr(data, FOXGLOVE_ROS)
    return _seconds(message.timestamp), _unpack(message.data)


def _foxglove_json(data: bytes) -> Dated:
    message = json.loads(data)
    stamp = message.get("timestamp") or {}
    seconds = stamp.get("sec", 0) + 1e-9 * stamp.get("nsec", stamp.get("nanosec", 0))
    return float(seconds), _unpack(base64.b64decode(message["data"]))


def _foxglove_protobuf(data: bytes) -> Dated:
    message = compressed_image().FromString(data)
    stamp = message.timestamp
    return stamp.seconds + 1e-9 * stamp.nanos, _unpack(message.data)


def _unpack(data: Any) -> Picture:
    check_encoded("a picture in a message", bytes(data))
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise SourceError("a picture in a message cannot be decoded")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _seconds(stamp: Any) -> float:
    return float(stamp.sec + 1e-9 * stamp.nanosec)


def _from_cdr(data: bytes, kind: str) -> Any:
    return _types().deserialize_cdr(data, kind)


@cache
def _types() -> Any:
    store = get_typestore(Stores.LATEST)
    store.register(get_types_from_msg(_FOXGLOVE, FOXGLOVE_ROS))
    return store


_DECODERS: dict[tuple[str, str], Decode] = {
    ("cdr", RAW): _raw,
    ("cdr", COMPRESSED): _compressed,
    ("cdr", FOXGLOVE_ROS): _foxglove_ros,
    ("json", "foxglove.CompressedImage"): _foxglove_json,
    ("protobuf", "foxglove.CompressedImage"): _foxglove_protobuf,
}
