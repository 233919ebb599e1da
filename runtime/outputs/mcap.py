"""Recordings as MCAP with ROS 2 messages: /CAMERA/image, /CAMERA/labels, /CAMERA/areas.

A file that was cut off by a power failure is read up to its last whole chunk.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.writer import Writer
from rosbags.typesys import Stores, get_typestore

from acclimate.configs.outputs import OutputsConfig
from acclimate.runtime.outputs.side import Shown

PICTURE, TEXT = "sensor_msgs/msg/CompressedImage", "std_msgs/msg/String"
OURS = re.compile(r"\d{8}-\d{6}-\d{9}\.mcap")  # nobody else's recordings make room
CHUNK = 2**18  # bytes: what a power failure may cost


class Recording:
    """Files named by the second they were begun in."""

    def __init__(self, config: OutputsConfig) -> None:
        self._folder, self._most = Path(config.mcap or ""), config.mcap_files
        self._limit = config.mcap_mb * 2**20
        self._types = get_typestore(Stores.ROS2_HUMBLE)
        self._file: Any = None
        self._writer: Any = None
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}

    def write(self, shown: Shown) -> bool:
        """Append one result. Raises OSError; what was written before stays readable."""
        try:
            if self._file is None:
                self._begin()
            stamp, topic = time.time_ns(), f"/{shown.camera}"
            _, jpg = cv2.imencode(".jpg", shown.frame.image[:, :, ::-1])
            _, png = cv2.imencode(".png", shown.labels)
            self._picture(f"{topic}/image", "jpeg", jpg, shown, stamp)
            self._picture(f"{topic}/labels", "png", png, shown, stamp)
            text = self._types.types[TEXT](json.dumps(shown.areas | {"adapter": shown.adapter}))
            self._message(f"{topic}/areas", TEXT, text, shown, stamp)
            if self._file.tell() > self._limit:
                self.close()
        except OSError:
            self._drop()
            raise
        return True

    def close(self) -> None:
        """Finish the file; the next result begins another."""
        if self._file is not None:
            self._writer.finish()
            self._file.close()
            self._file = None

    def _drop(self) -> None:
        """Leave a file that cannot be finished as it is."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        ours = sorted(one for one in self._folder.glob("*.mcap") if OURS.fullmatch(one.name))
        for old in ours[: -self._most + 1 or None]:
            old.unlink()
        name = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        self._file = (self._folder / f"{name}-{time.time_ns() % 10**9:09d}.mcap").open("wb")
        self._writer = Writer(self._file, chunk_size=CHUNK)
        self._writer.start(profile="ros2", library="acclimate")
        self._schemas, self._channels = {}, {}

    def _picture(self, topic: str, kind: str, data: Any, shown: Shown, stamp: int) -> None:
        types = self._types.types
        at = types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
        header = types["std_msgs/msg/Header"](at, shown.camera)
        message = types[PICTURE](header, kind, np.asarray(data, np.uint8).ravel())
        self._message(topic, PICTURE, message, shown, stamp)

    def _message(self, topic: str, kind: str, message: Any, shown: Shown, stamp: int) -> None:
        data = bytes(self._types.serialize_cdr(message, kind))
        number = shown.frame.frame_id % 2**32
        self._writer.add_message(self._channel(topic, kind), stamp, data, stamp, number)

    def _channel(self, topic: str, kind: str) -> int:
        if kind not in self._schemas:
            text, _ = self._types.generate_msgdef(kind)
            self._schemas[kind] = self._writer.register_schema(kind, "ros2msg", text.encode())
        if topic not in self._channels:
            self._channels[topic] = self._writer.register_channel(topic, "cdr", self._schemas[kind])
        return self._channels[topic]
