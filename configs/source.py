"""Keys of `source` and of each of `cameras`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from acclimate.configs.adapt import Point


@dataclass(frozen=True)
class SourceConfig:
    """Where frames come from. `policy` auto = newest for live sources, every for files.

    `url`: an rtsp:// or http:// address, a camera's number or device file (behind a ? its
    `video_size`, `framerate` and `input_format`), gst:PIPELINE as gst-launch-1.0 takes it, a film,
    an image or a folder of them, an MCAP file or a ROS 2 bag, or world:SPEC. `topic`: of a bag with
    several that have pictures. Live ones: silent for `stale_seconds` they are torn down and tried
    again after `reconnect_seconds`, then twice as long, up to half a minute. `transport` of RTSP;
    udp waits up to `latency_seconds` for packets out of order. `hardware_decode`: by a device that
    FFmpeg knows, where there is one; off: always by the processor. `hood`: polygons as in
    `adapt.hood`, for this camera alone.
    """

    url: str = "world:"
    policy: Literal["auto", "newest", "every"] = "auto"
    topic: str | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    latency_seconds: float = 0.2
    hardware_decode: bool = True
    hood: tuple[tuple[Point, ...], ...] = ()
    reconnect_seconds: float = 1.0
    stale_seconds: float = 20.0


# up to the last @ before the host, also where a password has a / in it
_WHO = re.compile(r"://(?:[^/\s]*|[^/\s@:]*:(?!\d*/)\S*)@")
_PASSWORD = re.compile(r"\b((?:user-pw|password|passwd)=)\S+")  # GStreamer's own keys


def public(text: str) -> str:
    """An address, or words with one, without user and password: for logs, events and pages."""
    return _PASSWORD.sub(r"\1***", _WHO.sub("://", text))
